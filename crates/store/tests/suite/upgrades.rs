//! Databases of each earlier schema, with rows in every table of that schema, are migrated and keep their rows.

use crate::engines::on_both_engines;
use crate::harness::*;
use crossfade_store::{Db, Location, StoreError, backup::TABLES};
use std::collections::BTreeMap;

on_both_engines! {
    in parallel:
    a_database_of_each_earlier_schema_is_migrated_with_its_rows,
}

/// Rows as programs of the schemas from `0` up to, but not including, `1` wrote them. `{B}` stands for a few bytes.
const ROWS: &[(i64, i64, &str)] = &[
    (1, i64::MAX, "INSERT INTO change_log (seq, kind, subject) VALUES (1, 'registration', 'reg_1')"),
    (1, i64::MAX, "INSERT INTO data_keys (id, purpose, sealed, created_at) VALUES ('k1', 'seal', {B}, 1)"),
    (1, i64::MAX, "INSERT INTO properties (id, name, name_key, created_at, version) VALUES ('prop_1', 'Νόμος', 'νόμος', 1, 1)"),
    (1, i64::MAX, "INSERT INTO environments (slug, name, kind, position, signing_alg, show_once, wipe_after_days, max_age_days, created_at, version)
         VALUES ('production', 'Production', 'production', 1, 'EdDSA', 0, 30, NULL, 1, 1)"),
    (1, i64::MAX, "INSERT INTO signing_keys (kid, environment, alg, sealed, created_at, active_from) VALUES ('kid', 'production', 'EdDSA', {B}, 1, 1)"),
    (1, i64::MAX, "INSERT INTO clients (id, property_id, name, name_key, description, owners, created_at, version)
         VALUES ('cl_1', 'prop_1', 'Άρης', 'άρης', '', '[]', 1, 1)"),
    (1, i64::MAX, "INSERT INTO registrations (id, client_id, environment, oauth_client_id, auth_basic, auth_post, scopes, access_token_ttl_seconds,
             may_introspect, created_at, disabled_at, version)
         VALUES ('reg_1', 'cl_1', 'production', 'billing', 1, 0, '', 900, 0, 1, 2, 1)"),
    (1, i64::MAX, "INSERT INTO secrets (id, registration_id, number, created_at, expires_at, digest, digest_key, sealed)
         VALUES ('sec_1', 'reg_1', 1, 1, 99, {B}, 'k1', {B}), ('sec_2', 'reg_1', 2, 2, NULL, {B}, 'k1', NULL)"),
    (1, i64::MAX, "INSERT INTO rotations (id, registration_id, number, actor_kind, actor_id, actor_name, rotated_at, transition_hours, reason,
             compromised, outgoing_secret_id, incoming_secret_id)
         VALUES ('rot_1', 'reg_1', 1, 'user', 'usr_1', 'Ada', 2, 24, '', 0, 'sec_1', 'sec_2')"),
    (1, i64::MAX, "INSERT INTO secret_usage (secret_id, first_used_at, last_used_at, use_count) VALUES ('sec_1', 1, 2, 7)"),
    (1, 5, "INSERT INTO secret_usage_sources (secret_id, source_ip, user_agent, first_used_at, last_used_at, use_count)
         VALUES ('sec_1', '192.0.2.1', 'worker/1', 1, 2, 4), ('sec_1', '', '', 1, 2, 3)"),
    (5, i64::MAX, "INSERT INTO secret_usage_sources (secret_id, source_ip, user_agent, instance, gathered, first_used_at, last_used_at, use_count, longest_pause)
         VALUES ('sec_1', '192.0.2.1', 'worker/1', 'a', 0, 1, 2, 4, 1), ('sec_1', '', '', '', 1, 1, 2, 3, 1)"),
    (1, i64::MAX, "INSERT INTO authentication_failures (hour, registration_id, secret_id, reason, source_ip, first_at, last_at, failure_count)
         VALUES (1, 'reg_1', 'sec_1', 'wrong', '192.0.2.1', 1, 2, 3)"),
    (1, i64::MAX, "INSERT INTO revoked_tokens (jti, expires_at, revoked_at) VALUES ('jti', 9, 1)"),
    (1, i64::MAX, "INSERT INTO users (id, kind, email, name, created_at, version)
         VALUES ('usr_1', 'person', 'ada@example.com', 'Ada', 1, 1), ('usr_2', 'person', 'bob@example.com', 'Bob', 1, 1)"),
    (1, i64::MAX, "INSERT INTO grants (id, user_id, role, created_at) VALUES ('gr_1', 'usr_1', 'owner', 1)"),
    (1, i64::MAX, "INSERT INTO api_tokens (id, user_id, name, digest, created_at) VALUES ('tok_1', 'usr_1', 'laptop', {B}, 1)"),
    (1, i64::MAX, "INSERT INTO links (digest, purpose, user_id, created_at, expires_at) VALUES ({B}, 'setup', NULL, 1, 9)"),
    (1, i64::MAX, "INSERT INTO audit_events (seq, at, actor_kind, actor_id, actor_name, action, outcome, target, details)
         VALUES (1, 1, 'user', 'usr_1', 'Ada', 'user.created', 'done', 'usr_2', '{}'), (2, 2, 'user', 'usr_1', 'Ada', 'link.created', 'done', 'usr_2', '{}')"),
    (1, i64::MAX, "INSERT INTO idempotency (actor, key, request, created_at, reply, sealed) VALUES ('usr_1', 'once', {B}, 1, '{}', {B})"),
    (1, i64::MAX, "INSERT INTO notifications (id, created_at, event, recipients, details) VALUES ('ntf_1', 1, 'secret.rotated', '[]', '{}')"),
    (34, i64::MAX, "INSERT INTO deliveries (id, notification_id, channel, recipient, cause, created_at, next_attempt_at)
         VALUES ('dlv_1', 'ntf_1', 'mail', 'ada@example.com', 'ntf_1', 1, 1)"),
    (40, i64::MAX, "INSERT INTO sending_place (one, place) VALUES (1, '{}')"),
    (40, i64::MAX, "INSERT INTO told (cause, told_at) VALUES ('leak sec_1', 1)"),
    (40, i64::MAX, "INSERT INTO message_links (notification_id, link_digest, sealed) VALUES ('ntf_1', {B}, {B})"),
    (3, i64::MAX, "INSERT INTO sessions (id, user_id, digest, created_at, authenticated_at, last_seen_at, source_ip, user_agent)
         VALUES ('ses_1', 'usr_1', {B}, 1, 1, 1, '192.0.2.1', '')"),
    (4, 5, "INSERT INTO secret_usage_spans (secret_id, span, use_count) VALUES ('sec_1', 8, 7)"),
    (5, i64::MAX, "INSERT INTO secret_usage_series (secret_id, grain, bucket, use_count) VALUES ('sec_1', 60, 120, 7), ('sec_1', 3600, 2, 7), ('sec_1', 86400, 0, 7)"),
    (5, 47, "INSERT INTO evidence_state (one, recorded_until, recording) VALUES (1, 2, 0)"),
    (47, i64::MAX, "INSERT INTO evidence_recorders (node_id, recorded_until, recording, asked_at) VALUES ('', 2, 0, 0)"),
    (5, i64::MAX, "INSERT INTO evidence_gaps (began_at, ended_at, kind) VALUES (1, 2, 'killed')"),
    (7, i64::MAX, "INSERT INTO drills (id, registration_id, number, secret_id, actor_kind, actor_id, actor_name, scheduled_at, reason, starts_at,
             length_seconds, repeat_count, ends_at)
         VALUES ('drl_1', 'reg_1', 1, 'sec_1', 'user', 'usr_1', 'Ada', 1, '', 1, 60, 1, 2)"),
    (7, 10, "INSERT INTO drill_callers (drill_id, source_ip, user_agent, instance, gathered, first_at, last_at, refusal_count)
         VALUES ('drl_1', '192.0.2.1', '', '', 0, 1, 2, 3)"),
    (10, i64::MAX, "INSERT INTO refused_callers (secret_id, drill_id, source_ip, user_agent, instance, gathered, first_at, last_at, refusal_count)
         VALUES ('sec_1', 'drl_1', '192.0.2.1', '', '', 0, 1, 2, 3)"),
    (8, i64::MAX, "INSERT INTO deadline_warnings (rotation_id, deadline, mark_hours, told_at) VALUES ('rot_1', 99, 24, 1)"),
    (11, i64::MAX, "INSERT INTO instance (one, id, binding, created_at) VALUES (1, 'ins_1', {B}, 1)"),
    (15, i64::MAX, "INSERT INTO devices (digest, user_id, created_at, expires_at, wrong_passwords) VALUES ({B}, 'usr_1', 1, 9, 0)"),
    (17, i64::MAX, "INSERT INTO token_revocations (hour, registration_id, secret_id, source_ip, last_at, revocation_count) VALUES (1, 'reg_1', 'sec_1', '', 2, 3)"),
    (18, i64::MAX, "INSERT INTO limits (property_id, environment, audiences, version) VALUES ('prop_1', 'production', '[]', 1)"),
    (24, i64::MAX, "INSERT INTO link_makers (account_id, maker_id) VALUES ('usr_2', 'usr_1')"),
    (29, i64::MAX, "INSERT INTO audit_keys (id, sealed, created_at) VALUES ('key', {B}, 1)"),
    (29, i64::MAX, "INSERT INTO audit_positions (sink, seq, at) VALUES ('file:/a', 2, 1)"),
    (29, i64::MAX, "INSERT INTO audit_statements (seq, kind, at, signed) VALUES (2, 'start', 1, '{}')"),
    (38, i64::MAX, "INSERT INTO webhooks (id, name, url, environments, events, format, signing_secret, created_at, created_by, version)
         VALUES ('wh_1', 'Rotations', 'https://hooks.example.com/', '[]', '[]', 'standard', {B}, 1, 'usr_1', 1)"),
    (51, i64::MAX, "INSERT INTO upstream_credentials (registration_id, method, origins, leading_slot, version)
         VALUES ('reg_1', 'client_secret_basic', '[]', 'current', 1)"),
    (51, i64::MAX, "INSERT INTO upstream_slots (registration_id, slot, sealed, set_at, state) VALUES ('reg_1', 'current', {B}, 1, 'untested')"),
    (58, i64::MAX, "INSERT INTO unregistered_clients (environment, client_id, first_seen_at, last_seen_at, last_token_at, accepted_count, refused_count, failed_count, last_status, methods, sources)
         VALUES ('production', 'portal', 1, 2, 2, 1, 0, 0, 200, '[]', '[]'), ('production', '', 1, 2, 0, 0, 3, 0, NULL, '[]', '[]')"),
    (64, i64::MAX, "INSERT INTO logins (digest, user_id, session_id, challenge, token, expires_at) VALUES ({B}, 'usr_1', 'ses_1', 'x', '{}', 9)"),
    (59, i64::MAX, "INSERT INTO factors (id, user_id, kind, name, sealed, created_at, confirmed_at, last_used_at, last_step)
         VALUES ('fac_1', 'usr_1', 'totp', 'phone', {B}, 1, 2, 3, 4)"),
    (59, i64::MAX, "INSERT INTO recovery_codes (digest, user_id, created_at) VALUES ({B}, 'usr_1', 2)"),
    (59, i64::MAX, "INSERT INTO pending_sign_ins (digest, user_id, is_known, created_at, expires_at, wrong_codes) VALUES ({B}, 'usr_1', 0, 1, 9, 0)"),
    (59, i64::MAX, "INSERT INTO sign_in_policy (one, second_factor, told_at, secret_roles_told_at, passwords, break_glass, version) VALUES (1, 'everyone', 1, 1, 'everyone', '[]', 2)"),
    (66, i64::MAX, "INSERT INTO factors (id, user_id, kind, name, sealed, created_at, confirmed_at, last_used_at, last_step, credential_id)
         VALUES ('fac_2', 'usr_1', 'passkey', 'laptop', {B}, 1, 1, NULL, 0, 'AAEC')"),
    (66, i64::MAX, "INSERT INTO passkey_challenges (digest, expires_at) VALUES ({B}, 9)"),
    (54, i64::MAX, "INSERT INTO adoptions (registration_id, begun_at, tested_at, is_public) VALUES ('reg_1', 1, 2, 0)"),
    (39, i64::MAX, "INSERT INTO seen (rotation_id, user_id, seen_at) VALUES ('rot_1', 'usr_1', 1)"),
    (39, i64::MAX, "INSERT INTO messages_off (subject, word, since) VALUES ('cl_1', 'digest', 1)"),
    (60, i64::MAX, "INSERT INTO providers (id, name, issuer, client_id, client_secret, client_authentication, scopes, domains, groups_claim, acr_values, group_grants, created_at, version)
         VALUES ('idp_1', 'Example', 'https://id.example', 'crossfade', {B}, 'client_secret_basic', '[]', '[]', 'groups', '[]', '[]', 1, 1)"),
    (60, i64::MAX, "INSERT INTO identities (provider_id, subject, user_id, created_account, created_at) VALUES ('idp_1', 'ada', 'usr_1', 1, 1)"),
    (68, i64::MAX, "INSERT INTO provisioning_tokens (id, provider_id, digest, created_at, expires_at) VALUES ('prov_1', 'idp_1', {B}, 1, 9)"),
    (69, i64::MAX, "INSERT INTO scim_users (id, provider_id, external_id, user_name, details, user_id, lets_in, created_at, updated_at, version)
         VALUES ('su_1', 'idp_1', 'ada', 'ada@example.com', '{}', 'usr_1', 1, 1, 1, 1)"),
    (69, i64::MAX, "INSERT INTO scim_groups (id, provider_id, name, name_key, created_at, updated_at, version) VALUES ('sg_1', 'idp_1', 'Staff', 'staff', 1, 1, 1)"),
    (69, i64::MAX, "INSERT INTO scim_members (group_id, member_id, added_at) VALUES ('sg_1', 'su_1', 1)"),
    (61, i64::MAX, "INSERT INTO logout_tokens (provider_id, jti, expires_at) VALUES ('idp_1', 'jti', 9)"),
    (21, i64::MAX, "INSERT INTO unreadable_proxies (address, noted_at) VALUES ('192.0.2.9', 1)"),
];

/// What a migration made of rows that were there before it: from which schema on it is not applied to them any more, a
/// number, and the rows that a test put there.
const MADE: &[(i64, &str, i64)] = &[
    (17, "SELECT token_generation FROM registrations", 1),
    (14, "SELECT COUNT(*) FROM users WHERE id = 'usr_2' AND created_by = 'usr_1' AND linked_by = 'usr_1'", 1),
    (24, "SELECT COUNT(*) FROM link_makers WHERE account_id = 'usr_2' AND maker_id = 'usr_1'", 1),
    (
        50,
        "SELECT COUNT(*) FROM registrations r JOIN secrets s ON s.registration_id = r.id
         WHERE r.oauth_client_id = 'billing' AND r.access_token_ttl_seconds = 900 AND r.disabled_at = 2",
        2,
    ),
    (25, "SELECT COUNT(*) FROM clients WHERE name_key = 'άρησ'", 1),
    (25, "SELECT COUNT(*) FROM properties WHERE name_key = 'νόμοσ'", 1),
];

async fn a_database_of_each_earlier_schema_is_migrated_with_its_rows(t: TestDb) {
    let (columns, ours) = (t.place.columns().await, Db::program_schema());
    let versions: Vec<i64> =
        migrations(&t.place.location).iter().map(|migration| migration.version).collect();
    assert_eq!(versions.iter().max(), Some(&ours));
    for version in versions {
        let place = t.place.another_empty().await;
        place.migrate_to(version).await;
        let bytes = if matches!(place.location, Location::File(_)) { "X'0102'" } else { "'\\x0102'" };
        let mut expected: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, until, sql) in ROWS.iter().filter(|(from, until, _)| (*from..*until).contains(&version)) {
            place.raw(&sql.replace("{B}", bytes)).await;
            let table = sql.split(' ').nth(2).unwrap();
            let number = sql.split("VALUES").nth(1).unwrap().matches("(").count();
            if *until == i64::MAX || table == "secret_usage_sources" {
                *expected.entry(table).or_default() += number;
            }
        }
        if version == ours {
            let tables = TABLES.iter().map(|table| table.name);
            let missing: Vec<&str> = tables.filter(|name| !expected.contains_key(name)).collect();
            assert_eq!(missing, ["head", "history"], "every other table of a backup has rows here");
        }
        let db = Db::open(&place.location).await.unwrap_or_else(|error| panic!("schema {version}: {error}"));
        db.check_statements().await.unwrap();
        assert_eq!(place.columns().await, columns, "schema {version}");
        for (table, number) in expected {
            let found = place.number(&format!("SELECT COUNT(*) FROM {table}")).await;
            assert_eq!(found, number as i64, "schema {version}: {table}");
        }
        for (until, sql, number) in MADE.iter().filter(|(until, ..)| version < *until) {
            assert_eq!(place.number(sql).await, *number, "schema {version}, migration {until}");
        }
        db.read::<_, StoreError>(async |tx| {
            for table in TABLES {
                tx.each_row::<StoreError>(table, |_| Ok(())).await?;
            }
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(db.stored_schema().await.unwrap(), Some(ours));
        db.close().await;
    }
}
