# ./dev package [--test]. Sourced by ./dev.
#
# Makes two Debian packages in .dev/package: plimsoll, and plimsoll-pgbouncer, which has PgBouncer's name. What is made at build
# time (manual pages, completions, the licences of libraries) is staged in .dev/package/stage.

# The version of cargo-deb that the packages are made with.
CARGO_DEB=3.8.0

PACKAGE_DIR=$ROOT/.dev/package

need_cargo_deb() {
  PATH=$ROOT/.dev/tools/bin:$PATH
  [[ $(cargo deb --version 2>/dev/null) != *"$CARGO_DEB" ]] || return 0
  say "Building cargo-deb $CARGO_DEB from crates.io into .dev/tools (some minutes, once)"
  quietly cargo install cargo-deb --locked --version "=$CARGO_DEB" --root "$ROOT/.dev/tools"
}

stage() {
  local stage=$PACKAGE_DIR/stage shell
  rm -rf "$stage"
  mkdir -p "$stage/man" "$stage/completions"
  "$PLIMSOLL_BINARY" manpages "$stage/man"
  gzip -9n "$stage"/man/*
  "$PLIMSOLL_BINARY" completions bash >"$stage/completions/plimsoll"
  "$PLIMSOLL_BINARY" completions zsh >"$stage/completions/_plimsoll"
  "$PLIMSOLL_BINARY" completions fish >"$stage/completions/plimsoll.fish"
  cargo metadata --locked --format-version 1 --filter-platform "$(rustc -vV | sed -n 's/^host: //p')" |
    python3 dev.d/package/libraries.py | gzip -9n >"$stage/libraries.txt.gz"
  cat >"$stage/changelog" <<TEXT
plimsoll ($VERSION-1) unstable; urgency=medium

  * Version $VERSION.

 -- The Plimsoll developers <plimsoll@example.invalid>  $(date -R)
TEXT
}

# deb VARIANT...: the options of cargo deb that name one of the two.
deb() {
  cargo deb --quiet --no-build --locked -p plimsoll --output "$PACKAGE_DIR/" "$@"
}

need_rust
need_packages_of_deb() {
  command -v python3 >/dev/null || install_packages "the packages" python3
  command -v dpkg-shlibdeps >/dev/null || install_packages "the packages" dpkg-dev
}
need_packages_of_deb
need_cargo_deb
build_release
VERSION=$("$PLIMSOLL_BINARY" --version | sed 's/^plimsoll //')
stage
rm -f "$PACKAGE_DIR"/*.deb
deb
deb --variant=pgbouncer
say "packages:"
ls -l "$PACKAGE_DIR"/*.deb

case ${1:-} in
  "") ;;
  --test) source dev.d/package-test.sh ;;
  *) die "package: unknown argument: $1" ;;
esac
