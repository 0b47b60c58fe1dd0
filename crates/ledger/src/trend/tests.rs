use super::*;

const MINUTE: u64 = 60_000_000;
const HOUR: u64 = 60 * MINUTE;
const POOL: PoolId = PoolId(1);
const TARGET: TargetId = TargetId(2);

/// A pool in which so many connections of a site rest, looked at once a minute.
struct House {
    trends: Trends,
    now: u64,
    cap: u32,
    /// Each with its number, since when it rests.
    resting: Vec<(u64, u64)>,
    next: u64,
    told: Vec<Rise>,
}

impl House {
    fn new() -> House {
        let (now, cap) = (HOUR, 100);
        House { trends: Trends::new(MINUTE), now, cap, resting: Vec::new(), next: 1, told: Vec::new() }
    }

    fn leak(&mut self, count: u32) {
        for _ in 0..count {
            self.next += 1;
            self.resting.push((self.next, self.now));
        }
    }

    fn caps(&self) -> Caps {
        Caps { pools: vec![(POOL, self.cap)], targets: vec![(TARGET, None)] }
    }

    fn minutes(&mut self, count: u32) {
        for _ in 0..count {
            self.now += MINUTE;
            let sights = self.resting.iter().map(|(hold, used)| Sight {
                hold: HoldId(*hold),
                pool: POOL,
                target: Some(TARGET),
                site: SiteId(9),
                state: HoldState::InTransaction,
                used: Moment(*used),
            });
            let caps = self.caps();
            self.told.extend(self.trends.look(&caps, sights.collect::<Vec<_>>(), Moment(self.now)));
        }
    }

    fn trend(&self) -> Trend {
        self.trends.trend(Subject::Pool(POOL), Moment(self.now)).expect("the pool")
    }
}

#[test]
fn a_short_series_says_so() {
    let mut house = House::new();
    house.minutes(1);
    assert_eq!(house.trend().why, Why::TooShort { have: 0 });
    for _ in 0..7 {
        house.leak(5);
        house.minutes(1);
    }
    let trend = house.trend();
    assert_eq!((trend.course, trend.why), (Course::TooShort, Why::TooShort { have: 7 }));
    assert_eq!(trend.why.text(), "7 of 8 intervals seen");
    assert_eq!((trend.since_us, trend.reached), (None, None));
}

#[test]
fn equal_numbers_and_a_step_are_flat() {
    let mut house = House::new();
    house.leak(40);
    house.minutes(300);
    assert_eq!((house.trend().course, house.trend().why), (Course::Flat, Why::NoMore));
    house.leak(30);
    for _ in 0..600 {
        house.minutes(1);
        assert_eq!(house.trend().course, Course::Flat, "{:?}", house.trend());
    }
    assert!(house.told.is_empty());
}

#[test]
fn a_few_steps_are_not_enough_and_more_are() {
    let mut house = House::new();
    house.minutes(60);
    for _ in 0..6 {
        house.leak(1);
        house.minutes(60);
        assert_eq!(house.trend().course, Course::Flat, "{:?}", house.trend());
    }
    for _ in 0..4 {
        house.leak(1);
        house.minutes(60);
    }
    let trend = house.trend();
    assert_eq!((trend.course, trend.returned), (Course::Rising, 0), "{trend:?}");
    assert!((0.8..1.3).contains(&trend.rate.likely), "one an hour: {trend:?}");
    let hours = trend.reached.expect("a cap").likely_us / HOUR;
    assert!((70..120).contains(&hours), "90 are left: {trend:?}");
    assert!(trend.p < 0.01 && trend.since_us.is_some_and(|since| since >= 8 * HOUR));
}

#[test]
fn it_is_told_once_and_again_at_half_the_time() {
    let mut house = House::new();
    house.cap = 1000;
    for _ in 0..480 {
        house.leak(2);
        house.minutes(1);
    }
    // 1000 at two a minute: from 8 h to nothing is halved some times.
    let times: Vec<_> = house.told.iter().filter_map(|rise| Some(rise.trend.reached?.likely_us)).collect();
    assert!(times.windows(2).all(|pair| pair[1] <= pair[0] / 2), "{times:?}");
    assert!((4..10).contains(&times.len()), "{times:?}");
    assert!(house.told.iter().all(|rise| rise.subject == house.told[0].subject && rise.most.is_some()));
    // The application is restarted: it is over, and the next rise is told anew.
    house.resting.clear();
    house.minutes(60);
    assert_eq!(house.trend().course, Course::Flat);
    let before = house.told.len();
    for _ in 0..60 {
        house.leak(2);
        house.minutes(1);
    }
    assert!(house.told.len() > before, "the same leak again");
}

/// Some pools of one server in which the same site leaks, each in its turn.
struct Tenants {
    trends: Trends,
    now: u64,
    sizes: Vec<u32>,
    budget: u32,
    resting: Vec<Sight>,
    next: u64,
    told: Vec<Rise>,
}

const SITE: SiteId = SiteId(9);

impl Tenants {
    fn new(sizes: &[u32], budget: u32) -> Tenants {
        let (trends, sizes) = (Trends::new(MINUTE), sizes.to_vec());
        Tenants { trends, now: HOUR, sizes, budget, resting: Vec::new(), next: 1, told: Vec::new() }
    }

    fn leak(&mut self, tenant: usize, site: SiteId) {
        self.next += 1;
        self.resting.push(Sight {
            hold: HoldId(self.next),
            pool: PoolId(u32::try_from(tenant).expect("few")),
            target: Some(TARGET),
            site,
            state: HoldState::InTransaction,
            used: Moment(self.now),
        });
    }

    /// A minute with these connections in use beside the ones that rest, in each pool.
    fn minute(&mut self, busy: &[u32]) {
        self.now += MINUTE;
        let caps = Caps {
            pools: self.sizes.iter().zip(0..).map(|(size, id)| (PoolId(id), *size)).collect(),
            targets: vec![(TARGET, Some(self.budget))],
        };
        let now = Moment(self.now);
        let used = busy.iter().zip(0..).flat_map(|(count, pool)| {
            let sight = move |number: u32| Sight {
                hold: HoldId(1_000_000 + u64::from(pool) * 1000 + u64::from(number)),
                pool: PoolId(pool),
                target: Some(TARGET),
                site: SiteId::UNKNOWN,
                state: HoldState::InTransaction,
                used: now,
            };
            (0..*count).map(sight)
        });
        self.told.extend(self.trends.look(&caps, self.resting.iter().copied().chain(used), now));
    }

    fn trend(&self, pool: u32) -> Trend {
        self.trends.trend(Subject::Site(SITE, PoolId(pool)), Moment(self.now)).expect("the site there")
    }
}

#[test]
fn a_site_is_measured_against_the_pool_that_it_leaks_in() {
    let sizes = [20, 40, 60, 20];
    let mut tenants = Tenants::new(&sizes, 200);
    for round in 0..60 {
        tenants.leak(round % 4, SITE);
        tenants.minute(&[]);
        for (size, pool) in sizes.iter().zip(0..) {
            let Some(trend) = tenants.trends.trend(Subject::Site(SITE, PoolId(pool)), Moment(tenants.now))
            else {
                continue;
            };
            let of_pool = tenants.trends.trend(Subject::Pool(PoolId(pool)), Moment(tenants.now));
            assert_eq!((trend.cap, trend.held), (Some(*size), of_pool.expect("the pool").held));
        }
    }
    // A quarter of what leaks, and no more, fills each of them.
    for (size, pool) in sizes.iter().zip(0..) {
        let trend = tenants.trend(pool);
        let left = f64::from(size - trend.floor.expect("a floor"));
        let hours = trend.reached.expect("it rises").likely_us as f64 / HOUR as f64;
        assert!((0.5..2.0).contains(&(hours / (left / 15.0))), "{size}: {hours} h for {left}");
    }
    for rise in &tenants.told {
        assert!(rise.trend.cap.is_none_or(|cap| rise.trend.held <= cap), "{rise:?}");
    }
}

#[test]
fn what_another_pool_does_is_no_load_of_this_one() {
    // The site rests in the first pool only; the second one is busier and busier.
    let mut tenants = Tenants::new(&[40, 400], 1000);
    for minute in 0..40 {
        tenants.leak(0, SITE);
        if minute == 0 {
            tenants.leak(1, SITE);
        }
        tenants.minute(&[5, 8 * minute]);
    }
    let trend = tenants.trend(0);
    let left = f64::from(40 - trend.floor.expect("a floor"));
    let hours = trend.reached.expect("it rises").likely_us as f64 / HOUR as f64;
    assert!((0.7..1.5).contains(&(hours / (left / 60.0))), "one a minute by the clock: {trend:?}");
    assert_eq!(tenants.trend(1).course, Course::Flat);
}

#[test]
fn a_leak_in_several_pools_is_told_of_each_and_not_of_their_server_as_well() {
    let mut tenants = Tenants::new(&[300, 300], 10_000);
    let is_of_target = |rise: &Rise| matches!(rise.subject, Subject::Target(_));
    let mut alone = None;
    for minute in 0..240 {
        (0..2).for_each(|tenant| tenants.leak(tenant, SITE));
        tenants.minute(&[]);
        let pools_told = tenants.told.iter().any(|rise| !is_of_target(rise));
        if pools_told && alone.is_none() {
            alone = Some(tenants.told.iter().filter(|rise| is_of_target(rise)).count());
        }
        assert!(minute < 30 || pools_told, "seen in time");
    }
    let targets = tenants.told.iter().filter(|rise| is_of_target(rise)).count();
    assert_eq!(Some(targets), alone, "{:?}", tenants.told);
    let of = |subject| tenants.told.iter().filter(|rise| rise.subject == subject).count();
    for pool in [PoolId(0), PoolId(1)] {
        assert!(of(Subject::Pool(pool)) + of(Subject::Site(SITE, pool)) > 0, "{:?}", tenants.told);
    }
}

#[test]
fn a_site_that_the_noise_of_its_pool_hides_is_told_in_its_place_and_again() {
    let mut tenants = Tenants::new(&[300], 1000);
    let noise = SiteId(77);
    for minute in 0..450_usize {
        if minute % 2 == 0 {
            tenants.leak(0, SITE);
        }
        // Others rest for four minutes and come back, now 60 and now none of them.
        if minute % 8 == 0 {
            (0..60).for_each(|_| tenants.leak(0, noise));
        }
        let now = tenants.now;
        tenants.resting.retain(|sight| sight.site == SITE || now - sight.used.0 < 4 * MINUTE);
        tenants.minute(&[]);
    }
    let of_site: Vec<_> =
        tenants.told.iter().filter(|rise| rise.subject == Subject::Site(SITE, PoolId(0))).collect();
    assert!(!of_site.is_empty() && tenants.told.iter().all(|rise| rise.subject != Subject::Target(TARGET)));
    let ends: Vec<_> = tenants.told.iter().filter_map(|rise| Some(rise.trend.reached?.likely_us)).collect();
    assert!(ends.len() > 1 && ends.windows(2).all(|pair| pair[1] <= pair[0] / 2), "{ends:?}");
}

#[test]
fn what_comes_back_is_no_leak() {
    let mut house = House::new();
    for minute in 0..600_u64 {
        // Ten more each minute, and each is given back after three, or eight in the long run.
        house.leak(10);
        let kept = 3 + minute / 100;
        let now = house.now;
        house.resting.retain(|(_, since)| now - since < kept * MINUTE);
        house.minutes(1);
        assert_ne!(house.trend().course, Course::Rising, "{:?}", house.trend());
    }
}

#[test]
fn a_sawtooth_is_as_high_as_it_was() {
    let mut house = House::new();
    for _ in 0..60 {
        for _ in 0..5 {
            house.leak(4);
            house.minutes(1);
            assert_ne!(house.trend().course, Course::Rising, "{:?}", house.trend());
        }
        house.resting.clear();
        house.minutes(1);
    }
}

#[test]
fn a_cap_is_what_it_is_after_a_reload() {
    let mut house = House::new();
    for _ in 0..30 {
        house.leak(1);
        house.minutes(1);
    }
    let before = house.trend().reached.expect("it rises");
    house.cap = 1000;
    house.leak(1);
    house.minutes(2);
    let after = house.trend();
    assert_eq!(after.cap, Some(1000));
    assert!(after.reached.expect("it rises").likely_us > 5 * before.likely_us);
    house.cap = 10;
    house.minutes(1);
    assert_eq!(house.trend().reached.map(|reached| reached.likely_us), Some(0), "it is reached");
    // The same interval goes on, another one begins anew.
    house.trends.set_interval(MINUTE);
    assert_eq!(house.trend().course, Course::Rising);
    house.trends.set_interval(2 * MINUTE);
    assert_eq!(house.trends.trends(Moment(house.now)), []);
}

#[test]
fn memory_is_bounded_and_what_has_gone_is_forgotten() {
    let mut trends = Trends::new(MINUTE);
    let sight = |number: u32, now: u64| Sight {
        hold: HoldId(number.into()),
        pool: PoolId(number),
        target: Some(TargetId(number)),
        site: SiteId(u64::from(number) + 2),
        state: HoldState::IdleInSession,
        used: Moment(now - 2 * MINUTE),
    };
    let caps = |numbers: std::ops::Range<u32>| Caps {
        pools: numbers.clone().map(|number| (PoolId(number), 5)).collect(),
        targets: numbers.map(|number| (TargetId(number), Some(5))).collect(),
    };
    for round in 0..20 {
        let now = (10 + u64::from(round)) * MINUTE;
        let first = round * 500;
        let sights = (first..first + 2000).map(|number| sight(number, now));
        trends.look(&caps(first..first + 2000), sights, Moment(now));
        let all = trends.trends(Moment(now));
        assert!(all.len() <= POOLS_MAX + TARGETS_MAX + TREND_SITES_MAX, "{}", all.len());
        assert!(trends.unused.len() <= 2000);
    }
    let now = Moment(HOUR * 3);
    trends.look(&Caps::default(), [], now);
    assert_eq!((trends.trends(now), trends.unused.len()), (Vec::new(), 0));
}

#[test]
fn nothing_overflows() {
    let mut trends = Trends::new(u64::MAX);
    let caps = Caps { pools: vec![(POOL, u32::MAX)], targets: vec![(TARGET, Some(0))] };
    for now in [0, 1, u64::MAX / 2, u64::MAX, 5] {
        trends.look(&caps, [], Moment(now));
    }
    let mut series = Series::new(1, Moment(0));
    series.begin(Some(u32::MAX), 1);
    for minute in 0..2000 {
        series.came_back(0..LEVELS.len());
        series.set_load(u32::MAX);
        if series.end(Moment(minute)) {
            series.judge(Moment(minute));
        }
    }
    assert_ne!(series.trend(Moment(u64::MAX)).course, Course::Rising);
}

#[test]
fn a_stop_of_the_clock_or_of_the_looks_is_survived() {
    let mut house = House::new();
    for _ in 0..20 {
        house.leak(2);
        house.minutes(1);
    }
    assert_eq!(house.trend().course, Course::Rising);
    // Nobody looked for a day.
    house.now += 24 * HOUR;
    house.minutes(30);
    assert_eq!(house.trend().course, Course::Flat, "{:?}", house.trend());
}
