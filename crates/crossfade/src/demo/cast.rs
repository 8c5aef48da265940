//! The cast of the demo: people, properties and 40 clients, each with something that happened to its secret in
//! production.

use crossfade_core::{change_over::Verdict, roles::Role};

/// One account per role: the name, which is also in its email address, and the role.
pub(super) const PEOPLE: [(&str, Role); 6] = [
    ("Vera", Role::Viewer),
    ("Sven", Role::SecretViewer),
    ("Rosa", Role::SecretRotator),
    ("Amir", Role::ApplicationManager),
    ("Olga", Role::OperationsManager),
    ("Uma", Role::Auditor),
];

/// Property whose clients the Application Manager manages.
pub(super) const MANAGED: &str = "Payments";

/// The program that rotates in staging.
pub(super) const PIPELINE: &str = "release-pipeline";

/// What happened to a client's secret in production.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// Rotated every few weeks.
    Kept,
    /// Not rotated for longer than the policy allows.
    Overdue,
    /// A transition is running.
    Transition(Transition),
    /// Rotated while the reader watches, at the end of the demo.
    Watched,
    /// The registration is disabled.
    Disabled,
    /// Its last rotation was rolled back.
    RolledBack,
    /// Its secret leaked and was replaced immediately.
    Leaked,
    /// The deadline of its old secret was extended, and the secret was revoked when all callers had moved.
    Extended,
}

/// A transition that is running when the demo starts to serve.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Transition {
    /// Hours since it began.
    pub(super) began: u32,
    /// Transition period in hours.
    pub(super) hours: u32,
    /// Number of callers.
    pub(super) callers: u32,
    /// Number of callers that never move.
    pub(super) stay: u32,
    /// Hours between the moves of two callers.
    pub(super) every: u32,
    /// Its resulting verdict.
    pub(super) verdict: Verdict,
}

/// A client.
pub(super) struct Seed {
    pub(super) property: &'static str,
    pub(super) name: &'static str,
    pub(super) description: &'static str,
    pub(super) environments: &'static [&'static str],
    pub(super) fate: Fate,
}

const fn transition(
    began: u32,
    hours: u32,
    (callers, stay): (u32, u32),
    every: u32,
    verdict: Verdict,
) -> Fate {
    Fate::Transition(Transition { began, hours, callers, stay, every, verdict })
}

const ALL: &[&str] = &["development", "staging", "production"];
const LATE: &[&str] = &["staging", "production"];
const LIVE: &[&str] = &["production"];

const fn seed(
    property: &'static str,
    name: &'static str,
    description: &'static str,
    environments: &'static [&'static str],
    fate: Fate,
) -> Seed {
    Seed { property, name, description, environments, fate }
}

/// The clients, by property.
#[rustfmt::skip]
pub(super) const CLIENTS: [Seed; 40] = [
    seed("Payments", "Billing API", "Charges cards and writes invoices", ALL, Fate::Kept),
    seed("Payments", "Payout worker", "Pays merchants every night", LATE, transition(3, 24, (3, 3), 1, Verdict::NotStarted)),
    seed("Payments", "Fraud scoring", "Scores payments before they are taken", LATE, transition(20, 72, (12, 8), 2, Verdict::Moving)),
    seed("Payments", "Refund desk", "Lets support give money back", ALL, Fate::Watched),
    seed("Payments", "Ledger sync", "Copies bookings to accounting", LATE, Fate::Kept),
    seed("Payments", "Chargeback intake", "Reads the files of the card schemes", LIVE, Fate::Overdue),
    seed("Payments", "Tax service", "Computes taxes for invoices", LATE, Fate::Kept),
    seed("Storefront", "Search indexer", "Feeds the search of the shop", ALL, transition(50, 72, (9, 1), 4, Verdict::CallersLeft)),
    seed("Storefront", "Checkout", "Takes orders", ALL, Fate::RolledBack),
    seed("Storefront", "Mail sender", "Sends receipts", LATE, transition(70, 168, (4, 0), 2, Verdict::SafeToEnd)),
    seed("Storefront", "Recommendations", "Says what else one may like", LATE, Fate::Kept),
    seed("Storefront", "Price feed", "Publishes prices to comparison sites", LIVE, Fate::Kept),
    seed("Storefront", "Image resizer", "Cuts pictures of products to size", LATE, Fate::Overdue),
    seed("Storefront", "Reviews", "Collects what customers say", LATE, Fate::Kept),
    seed("Data platform", "Nightly export", "Copies orders to the warehouse", LATE, transition(23, 24, (5, 2), 3, Verdict::CallersLeft)),
    seed("Data platform", "Ads reporter", "Reports what advertising brought", LIVE, Fate::Leaked),
    seed("Data platform", "Event collector", "Takes events from every service", ALL, Fate::Kept),
    seed("Data platform", "Feature store", "Serves features to models", LATE, Fate::Kept),
    seed("Data platform", "Dashboard backend", "Draws charts for the board", LATE, Fate::Kept),
    seed("Data platform", "Churn model", "Says who may leave", LATE, Fate::Overdue),
    seed("Data platform", "Data catalogue", "Knows which tables there are", LIVE, Fate::Kept),
    seed("Logistics", "Warehouse robots", "Tells robots where to go", ALL, Fate::Kept),
    seed("Logistics", "Label printer", "Prints labels for parcels", LIVE, Fate::Extended),
    seed("Logistics", "Carrier gateway", "Books transport with carriers", LATE, transition(30, 96, (6, 4), 4, Verdict::Moving)),
    seed("Logistics", "Route planner", "Plans the tours of vans", LATE, Fate::Kept),
    seed("Logistics", "Stock counter", "Counts what is on the shelves", LATE, Fate::Kept),
    seed("Logistics", "Returns portal", "Takes parcels back", LATE, Fate::Overdue),
    seed("Logistics", "Customs filing", "Files declarations", LIVE, Fate::Kept),
    seed("Identity", "Session service", "Keeps customers signed in", ALL, Fate::Kept),
    seed("Identity", "Profile API", "Knows names and addresses", ALL, Fate::Kept),
    seed("Identity", "Consent log", "Remembers who has agreed to what", LATE, Fate::Kept),
    seed("Identity", "Legacy importer", "Brought accounts from the old shop", LIVE, Fate::Disabled),
    seed("Identity", "Address check", "Completes addresses", LATE, Fate::Kept),
    seed("Identity", "Loyalty points", "Counts points", LATE, Fate::Overdue),
    seed("Partners", "Marketplace sync", "Lists goods on marketplaces", ALL, Fate::Kept),
    seed("Partners", "Affiliate payouts", "Pays who brings customers", LATE, Fate::Kept),
    seed("Partners", "Webhook relay", "Tells partners what happens", LATE, Fate::Kept),
    seed("Partners", "Catalogue export", "Gives the catalogue to resellers", LATE, Fate::Overdue),
    seed("Partners", "Partner portal", "Lets partners look up orders", ALL, Fate::Kept),
    seed("Partners", "Invoice archive", "Keeps invoices for ten years", LIVE, Fate::Kept),
];

impl Seed {
    /// Returns the name as programs write it.
    pub(super) fn slug(&self) -> String {
        self.name.to_lowercase().replace(' ', "-")
    }
}
