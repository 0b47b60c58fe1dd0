use std::future::pending;

use super::*;

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// The number of the seat that is taken.
fn taken(answer: Answer) -> u64 {
    match answer {
        Answer::Taken(number, _) => number,
        Answer::Full(again_in) => panic!("full, again in {again_in:?}"),
    }
}

/// After which time a look is worth it.
fn full(answer: Answer) -> Option<Duration> {
    match answer {
        Answer::Taken(number, _) => panic!("{number} was free"),
        Answer::Full(again_in) => again_in,
    }
}

fn going(seats: &Seats) -> Vec<u64> {
    seats.taken.iter().filter(|(_, seat)| seat.is_going).map(|(number, _)| *number).collect()
}

#[test]
fn the_oldest_that_asks_makes_room_and_before_it_nobody() {
    let (mut seats, start) = (Seats::default(), Instant::now());
    let at = |time: u64| start + ms(time);
    let all: Vec<u64> = (0..3).map(|number| taken(seats.take(3, at(number * 10)))).collect();
    // Nobody has had the time to say anything.
    assert_eq!(full(seats.take(3, at(20))), Some(ms(30)));
    assert!(going(&seats).is_empty());
    // The first one has asked meanwhile.
    seats.enter(all[0], Stage::Answered, at(40));
    assert_eq!(full(seats.take(3, at(55))), Some(ms(5)));
    assert_eq!(full(seats.take(3, at(75))), None);
    assert_eq!(going(&seats), [all[1]]);
    // One goes at a time: who waits takes its seat.
    assert_eq!(full(seats.take(3, at(500))), None);
    assert_eq!(going(&seats), [all[1]]);
    seats.taken.remove(&all[1]);
    let new = taken(seats.take(3, at(500)));
    assert_eq!(full(seats.take(3, at(501))), None);
    assert_eq!((going(&seats), new > all[2]), (vec![all[2]], true));
}

#[test]
fn who_is_answered_stays_and_who_does_not_take_the_answer_goes_after_those_that_ask() {
    let (mut seats, start) = (Seats::default(), Instant::now());
    let all: Vec<u64> = (0..2).map(|_| taken(seats.take(2, start))).collect();
    seats.enter(all[0], Stage::Answered, start);
    seats.enter(all[1], Stage::Answered, start);
    assert_eq!(full(seats.take(2, start + ms(60_000))), None);
    assert!(going(&seats).is_empty());
    seats.enter(all[0], Stage::Told, start);
    assert_eq!(full(seats.take(2, start + ms(100))), Some(ms(400)));
    // Younger, and yet it has kept the place for less.
    seats.enter(all[1], Stage::Asking, start + ms(400));
    assert_eq!(full(seats.take(2, start + ms(600))), None);
    assert_eq!(going(&seats), [all[1]]);
    seats.taken.remove(&all[1]);
    taken(seats.take(2, start + ms(600)));
    assert_eq!(full(seats.take(2, start + ms(610))), None);
    assert_eq!(going(&seats), [all[0]]);
}

fn run<F: Future>(work: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { timeout(Duration::from_secs(20), work).await.expect("it ends") })
}

/// A connection that does nothing until it is told to go.
async fn stuck(place: Place, stage: Stage) -> Option<()> {
    place.enter(stage);
    place.keep(pending()).await
}

#[test]
fn stuck_connections_make_room_for_as_many_as_come() {
    for (stage, count) in [(Stage::Asking, 40), (Stage::Told, 12)] {
        run(async {
            let places = Places::new(4);
            let mut all = Vec::new();
            for _ in 0..count {
                all.push(tokio::spawn(stuck(places.take().await, stage)));
            }
            // The oldest were told to go, and the last four were not.
            let last = all.split_off(count - 4);
            for one in all {
                assert_eq!(one.await.expect("no panic"), None);
            }
            assert!(last.iter().all(|one| !one.is_finished()));
            last.iter().for_each(tokio::task::JoinHandle::abort);
        });
    }
}

#[test]
fn a_place_that_comes_free_is_given_at_once_to_whoever_waits() {
    run(async {
        let places = Places::new(1);
        let first = places.take().await;
        first.enter(Stage::Answered);
        let waiting = |places: Places| tokio::spawn(async move { drop(places.take().await) });
        let both = [waiting(places.clone()), waiting(places.clone())];
        tokio::task::yield_now().await;
        assert!(both.iter().all(|one| !one.is_finished()));
        assert_eq!(first.keep(async { 7 }).await, Some(7), "nobody has told it to go");
        drop(first);
        for one in both {
            one.await.expect("no panic");
        }
        // One that does not wait any more keeps nothing.
        let last = places.take().await;
        last.enter(Stage::Answered);
        assert!(timeout(Duration::ZERO, places.take()).await.is_err());
        drop(last);
        assert!(places.take().await.keep(async {}).await.is_some());
    });
}
