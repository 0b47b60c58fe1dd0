use super::*;

const APP: &str = "app_01m80gg6cjn4qpdvfkssbnga6t";
const GRANT: &str = "grt_01m80gg6cjn4qpdvfkssbnga6t";

fn view(change: impl FnOnce(&mut Proved)) -> ProvedView {
    let mut proved = Proved {
        organisation: "acme".into(),
        organisation_id: "org_01m80gg69c96a6cbvj0s1n5fzm".into(),
        name: "desk".into(),
        subject_id: APP.into(),
        key_id: None,
        token_id: None,
        issuer: None,
        kept: None,
        client_id: None,
        dataset_id: "dst_01m80gg6cjn4qpdvfkssbnga6t".into(),
        grant_id: GRANT.into(),
        role: "web".into(),
        until: None,
        limits: GrantLimits::default(),
    };
    change(&mut proved);
    ProvedView {
        client: 1,
        database: "shop".into(),
        host: "127.0.0.1".to_owned(),
        connected_for: Duration::ZERO,
        is_holding: false,
        is_waiting: false,
        weight: 1,
        proved: Arc::new(proved),
    }
}

#[test]
fn who_is_here_by_what_cannot_be_read_is_not_taken_for_somebody_else() {
    let whole = live(&view(|proved| proved.client_id = Some(APP.into()))).expect("readable");
    assert_eq!((whole.subject.as_str(), whole.grant.as_str()), (APP, GRANT));
    assert_eq!(whole.client.as_ref().map(Id::as_str), Some(APP));
    assert!(live(&view(|_| ())).is_some_and(|live| live.client.is_none()));
    // A person's token ends with the application it was issued to: which one that is has to be known.
    assert!(live(&view(|proved| proved.client_id = Some("app_nonsense".into()))).is_none());
    assert!(live(&view(|proved| proved.subject_id = "nobody".into())).is_none());
    assert!(live(&view(|proved| proved.grant_id = "".into())).is_none());
}

#[tokio::test]
async fn work_beside_is_one_piece_at_a_time_and_goes_on_after_a_panic() {
    let mut beside = Beside::default();
    let (end, ended) = oneshot::channel::<()>();
    let (tell, heard) = oneshot::channel();
    beside.start(async move {
        let _ = ended.await;
        let _ = tell.send("first");
    });
    assert!(beside.is_busy());
    beside.start(async { panic!("a second piece beside the first") });
    drop(end);
    assert_eq!(heard.await, Ok("first"));
    let piece = beside.piece.take().expect("begun");
    assert!(piece.await.is_ok());
    beside.start(async { panic!("a mistake in a piece of work") });
    while beside.is_busy() {
        tokio::task::yield_now().await;
    }
    let (tell, heard) = oneshot::channel();
    beside.start(async move {
        let _ = tell.send("next");
    });
    assert_eq!(heard.await, Ok("next"));
}
