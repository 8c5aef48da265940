//! Rule 10: the caller confirms the name of the client.

use super::{rotate, rotations};
use crate::engines::on_both_engines;
use crate::world::World;
use serde_json::{Value, json};

on_both_engines! {
    the_name_must_be_typed_exactly_rule_10,
}

async fn the_name_must_be_typed_exactly_rule_10(world: World) {
    let client = world.client("Café Billing", &["production"]).await;
    let owner = world.owner().await;
    let typed = |name: Value| json!({"transition_hours": 0, "confirm_client_name": name});
    let wrong = [
        "café billing",
        "CAFÉ BILLING",
        "Cafe Billing",
        "Café  Billing",
        "CaféBilling",
        "Café",
        "Café Billing.",
        "",
        " ",
        "Property of Café Billing",
    ];
    for name in wrong {
        let problem = rotate(&owner, &client, typed(name.into())).await.refused(422, "confirmation_mismatch");
        assert_eq!(problem["field"], "confirm_client_name", "{name}");
    }
    rotate(&owner, &client, json!({"transition_hours": 0})).await.refused(422, "confirmation_mismatch");
    rotate(&owner, &client, typed(Value::Null)).await.refused(422, "confirmation_mismatch");
    assert!(rotations(&owner, &client).await.is_empty());
    // Names are trimmed and NFC-normalised; what is typed is compared in the same form.
    rotate(&owner, &client, typed(" Cafe\u{301} Billing ".into())).await.created();
    rotate(&owner, &client, typed("Café Billing".into())).await.created();
}
