use super::*;

fn families() -> Vec<Family> {
    let mut waits = Times::default();
    waits.classes[0] = 3;
    waits.classes[2] = 1;
    waits.sum_us = 4_250;
    let mut seen = Family::new(Kind::Counter, "shop_seen_total", "How many \"were\" seen.\nAll.");
    seen.push(vec![("who", "a\\b\"c\nd".to_string()), ("x", String::new())], Value::Whole(7));
    vec![
        Family::one(Kind::Gauge, "shop_age_seconds", "Age.", Value::Real(0.5)),
        seen,
        Family::new(Kind::Gauge, "shop_nothing", "Left out."),
        Family::one(Kind::Histogram, "shop_wait_seconds", "Waits.", Value::Times(waits)),
    ]
}

#[test]
fn the_text_is_prometheus_own() {
    let text = encode(&families(), Format::Text);
    let wanted = "# HELP shop_age_seconds Age.\n\
        # TYPE shop_age_seconds gauge\n\
        shop_age_seconds 0.5\n\
        # HELP shop_seen_total How many \"were\" seen.\\nAll.\n\
        # TYPE shop_seen_total counter\n\
        shop_seen_total{who=\"a\\\\b\\\"c\\nd\",x=\"\"} 7\n\
        # HELP shop_wait_seconds Waits.\n\
        # TYPE shop_wait_seconds histogram\n\
        shop_wait_seconds_bucket{le=\"0.0005\"} 3\n\
        shop_wait_seconds_bucket{le=\"0.001\"} 3\n\
        shop_wait_seconds_bucket{le=\"0.005\"} 4\n";
    assert!(text.starts_with(wanted), "{text}");
    let end = "shop_wait_seconds_bucket{le=\"3600.0\"} 4\n\
        shop_wait_seconds_bucket{le=\"+Inf\"} 4\n\
        shop_wait_seconds_sum 0.00425\n\
        shop_wait_seconds_count 4\n";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn openmetrics_has_units_an_end_and_families_without_total() {
    let text = encode(&families(), Format::OpenMetrics);
    assert!(text.contains("# TYPE shop_seen counter\nshop_seen_total{"), "{text}");
    assert!(text.contains("# UNIT shop_age_seconds seconds\n") && text.ends_with("# EOF\n"), "{text}");
}

#[test]
fn numbers_that_are_none_have_names() {
    let all = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3.0, 1e-6].map(real);
    assert_eq!(all, ["NaN", "+Inf", "-Inf", "3.0", "1e-6"]);
}

#[test]
fn the_format_is_what_the_scraper_likes_best() {
    for (accept, wanted) in [
        ("", Format::Text),
        ("*/*", Format::Text),
        ("text/plain", Format::Text),
        ("application/openmetrics-text", Format::OpenMetrics),
        (
            "application/openmetrics-text; version=1.0.0; q=0.5,text/plain;version=0.0.4;q=0.3",
            Format::OpenMetrics,
        ),
        ("application/openmetrics-text;version=1.0.0;q=0.2,text/plain;q=0.3", Format::Text),
        ("application/openmetrics-text;version=2.0.0", Format::Text),
        ("application/openmetrics-text;q=0", Format::Text),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.2",
            Format::OpenMetrics,
        ),
        (",;;=q, text/plain;q=x", Format::Text),
    ] {
        assert_eq!(Format::wanted(accept), wanted, "{accept}");
    }
}
