//! Who gets in where, and what the others are told.

use super::*;

const ADMIN_ROUTES: [&str; 19] = [
    "GET /admin/keys",
    "POST /admin/keys",
    "GET /admin/keys/x",
    "PATCH /admin/keys/x",
    "DELETE /admin/keys/x",
    "POST /admin/keys/x/disable",
    "POST /admin/keys/x/enable",
    "POST /admin/keys/x/rotate",
    "GET /admin/keys/x/usage",
    "GET /admin/usage",
    "GET /admin/usage/daily",
    "GET /admin/usage/hourly",
    "GET /admin/fallback",
    "POST /admin/fallback/poll",
    "POST /admin/fallback/clear",
    "POST /admin/explain",
    "POST /admin/reload",
    "GET /admin/events",
    "GET /admin/nothing/of/that/name",
];

#[tokio::test]
async fn only_the_admin_key_opens_admin() {
    let house = House::new();
    let (_, client) = house.key("alice", &[]);
    for route in ADMIN_ROUTES {
        let none = house.ask(route).send().await;
        assert_eq!(
            (none.status, none.error().as_str()),
            (401, "authentication_error"),
            "{route}"
        );
        let known = house.ask(route).key(&client).send().await;
        assert_eq!(
            (known.status, known.error().as_str()),
            (403, "permission_error"),
            "{route}"
        );
        let bearer = format!("bearer {ADMIN}");
        let admin = house
            .ask(route)
            .header("authorization", &bearer)
            .send()
            .await;
        assert!(
            ![401, 403, 405, 500].contains(&admin.status),
            "{route}: {}",
            admin.status
        );
    }
}

#[tokio::test]
async fn wrong_and_absent_keys_get_one_text_and_many_wrong_ones_a_429() {
    let house = House::new();
    let absent = house.ask("/admin/keys").send().await;
    for _ in 0..10 {
        let wrong = house.ask("/admin/keys").key("luna-wrong").send().await;
        assert_eq!((wrong.status, wrong.message()), (401, absent.message()));
    }
    let wrong = house.ask("/admin/keys").key("luna-wrong").send().await;
    assert_eq!(
        (wrong.status, wrong.error().as_str()),
        (429, "rate_limit_error")
    );
    assert!(wrong.header("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(
        house
            .state
            .metrics
            .limited
            .with_label_values(&["auth_failures"])
            .get(),
        1
    );
    assert_eq!(house.admin("/admin/keys").send().await.status, 200);
}

#[tokio::test]
async fn client_routes_take_any_valid_key_and_no_other() {
    let house = House::new();
    let (id, client) = house.key("alice", &[]);
    for route in [
        "/me",
        "/me/usage",
        "/v1/models",
        "/models",
        "/v1/models/claude-opus",
    ] {
        assert_eq!(house.ask(route).send().await.status, 401, "{route}");
        assert_eq!(
            house.ask(route).key("luna-wrong").send().await.status,
            401,
            "{route}"
        );
        assert_eq!(
            house.ask(route).key(&client).send().await.status,
            200,
            "{route}"
        );
        assert_eq!(house.admin(route).send().await.status, 200, "{route}");
    }
    house.state.keys.disable(&id, now()).unwrap();
    let reply = house.ask("/me").key(&client).send().await;
    assert_eq!(
        (reply.status, reply.error().as_str()),
        (403, "permission_error")
    );
}

#[tokio::test]
async fn an_address_that_is_not_allowed_finds_nothing() {
    let house = House::new();
    for route in [
        "/admin",
        "/admin/keys",
        "POST /admin/reload",
        "/dashboard",
        "/dashboard/x",
    ] {
        for key in [ADMIN, "luna-wrong"] {
            let reply = house.ask(route).key(key).from("10.0.0.1").send().await;
            assert_eq!(
                (reply.status, reply.error().as_str()),
                (404, "not_found_error"),
                "{route}"
            );
        }
        let told = house
            .ask(route)
            .key(ADMIN)
            .header("x-forwarded-for", "127.0.0.1");
        assert_eq!(told.from("10.0.0.1").send().await.status, 404, "{route}");
    }
    assert_eq!(
        house.admin("/admin/keys").from("::1").send().await.status,
        200
    );
    assert_eq!(
        house
            .admin("/admin/keys")
            .from("::ffff:127.0.0.1")
            .send()
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_proxy_on_this_host_is_not_loopback_unless_it_is_trusted() {
    let house = House::new();
    let forwarded = house
        .admin("/admin/keys")
        .header("x-forwarded-for", "127.0.0.1")
        .from("127.0.0.1");
    assert_eq!(forwarded.send().await.status, 404);

    let trusting = House::with("[server]\ntrusted_proxies = ['127.0.0.0/8']");
    for (hop, expected) in [
        ("127.0.0.1", 200),
        ("10.0.0.1", 404),
        ("127.0.0.1, 10.0.0.1", 404),
        ("junk", 404),
    ] {
        let forwarded = trusting
            .admin("/admin/keys")
            .header("x-forwarded-for", hop)
            .from("127.0.0.1");
        assert_eq!(forwarded.send().await.status, expected, "{hop}");
    }

    let open = House::with("[admin]\nallow_ips = ['0.0.0.0/0']");
    let forwarded = open
        .admin("/admin/keys")
        .header("x-forwarded-for", "9.9.9.9")
        .from("127.0.0.1");
    assert_eq!(forwarded.send().await.status, 200);
}

#[tokio::test]
async fn admin_on_its_own_listener_is_404_on_the_other() {
    let house = House::new();
    for route in [
        "/admin",
        "/admin/",
        "/admin/keys",
        "POST /admin/reload",
        "/dashboard",
    ] {
        let client = house.admin(route).side(Side::ClientOnly).send().await;
        assert_eq!(
            (client.status, client.error().as_str()),
            (404, "not_found_error"),
            "{route}"
        );
    }
    assert_eq!(
        house
            .admin("/v1/models")
            .side(Side::ClientOnly)
            .send()
            .await
            .status,
        200
    );
    assert_eq!(
        house
            .admin("/admin/keys")
            .side(Side::AdminOnly)
            .send()
            .await
            .status,
        200
    );
    assert_eq!(
        house
            .admin("/health")
            .side(Side::AdminOnly)
            .send()
            .await
            .status,
        200
    );
    assert_eq!(
        house.admin("/me").side(Side::AdminOnly).send().await.status,
        404
    );
    let dashboard = house.ask("/dashboard").side(Side::AdminOnly).send().await;
    assert_eq!(dashboard.status, 404);
    assert!(dashboard.message().contains("not in this version"));
}

#[tokio::test]
async fn an_unknown_path_tells_nothing_without_a_key() {
    let house = House::new();
    for path in ["/nothing", "/me/else", "/healthz"] {
        assert_eq!(house.ask(path).send().await.status, 401, "{path}");
        assert_eq!(house.admin(path).send().await.status, 404, "{path}");
    }
    for path in ["/v1/models/", "/admin/keys/", "/me/"] {
        let reply = house.admin(path).send().await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(
            reply.message().contains("drop the slash"),
            "{path}: {}",
            reply.text
        );
    }
    assert_eq!(house.ask("/").send().await.status, 200);
}
