# ./dev soak [--seconds N], --budget [--seconds N], --sim [SEEDS], --idle [--seconds N], --hang [--seconds N],
# --crowd [--seconds N], --identity [--seconds N], --tokens [--seconds N], --api [--examples N], --restart [--rounds N],
# --balancer. Sourced by ./dev.

# Seeded histories of the decision crates, all cores at once, a process for each stretch of seeds. A seed that breaks a
# rule is printed with its history cut down.
soak_sim() {
  local seeds=${1:-1000000} steps=200 stretch=2000 target=${CARGO_TARGET_DIR:-$ROOT/target}
  [[ $seeds =~ ^[1-9][0-9]*$ ]] || die "soak --sim wants a number of seeds, not '$seeds'"
  cargo build --locked --profile sim -p plimsoll-sim
  say "sim: $seeds seeds of $steps steps on $(nproc) cores"
  local begun=$SECONDS status=0 first
  for ((first = 0; first < seeds; first += stretch)); do
    echo "$first..$((first + stretch < seeds ? first + stretch : seeds))"
  done | xargs -P "$(nproc)" -I RANGE "$target/sim/plimsoll-sim" --seeds RANGE --steps "$steps" || status=1
  say "sim: $seeds seeds in $((SECONDS - begun)) s: $([ $status = 0 ] && echo "no rule was broken" || echo "FAILED")"
  return $status
}

# The incident itself at its true size: a balancer that forgets after 90 s, an untouched file, ten rounds of 100 s.
soak_balancer() {
  need_postgres "the soak"
  install_packages "the soak" iproute2 nftables
  [ "$(id -u)" != 0 ] || export PLIMSOLL_TEST_USER=${PLIMSOLL_TEST_USER:-postgres}
  export PLIMSOLL_SOAK=1
  exec cargo test --locked -p plimsoll --test balancer -- --nocapture keepalive_carries_flows_past_the_balancer
}

# A scene of bench/ beside a release build; what follows its name goes to it.
soak_scene() {
  local scene=$1
  shift
  need_postgres "the soak"
  build_release
  exec python3 "bench/$scene.py" --binary "$PLIMSOLL_BINARY" "$@"
}

need_rust
case "${1:-}" in
  --sim) soak_sim "${2:-}" ;;
  --balancer) soak_balancer ;;
  --budget | --idle | --hang | --crowd | --identity | --tokens | --restart) soak_scene "${1#--}" "${@:2}" ;;
  --api)
    wheel_tool schemathesis schemathesis==4.32.5
    soak_scene api --schemathesis "$ROOT/.dev/tools/bin/schemathesis" "${@:2}"
    ;;
  *) soak_scene soak "$@" ;;
esac
