//! Properties: list, read, create, rename, delete.

use crate::{
    app::App,
    error::Error,
    frame::{
        cursor::{ListQuery, Scan, Start},
        entry::About,
        idempotency::Repeatable,
        principal::Principal,
        request::{Input, NoInput, Request},
        targets::{Platform, PropertyPath},
        versioned::Versioned,
    },
};
use crossfade_core::{
    Code, Operation, Problem, PropertyId,
    api::{self, Page, PropertyBody},
    audit::Event,
    roles::{Object, Permission, Scope},
    text::Name,
};
use crossfade_store::{Property, Tx};

impl Repeatable for Versioned<api::Property> {}

/// Returns a property as the API shows it.
fn shown(property: &Property) -> api::Property {
    api::Property {
        id: property.id.clone(),
        name: property.name.to_string(),
        created_at: property.created_at,
    }
}

fn name_taken() -> Problem {
    Problem::new(
        Code::NameTaken,
        "A property with this name already exists. Nothing was changed. Choose another name.",
    )
    .with_field("name")
}

/// Returns a page of the properties that the principal can read, oldest first, within a read.
pub(crate) async fn properties_page(
    tx: &mut Tx,
    principal: &Principal,
    start: &Start<'_>,
) -> Result<Page<api::Property>, Error> {
    let key = |row: &Property| (row.created_at.as_micros(), row.id.to_string());
    let mut scan = Scan::new(start, principal.may(Permission::ClientRead, Object::Platform));
    while let Some(from) = scan.next() {
        let rows = tx.properties(&from).await?;
        scan.read(rows.len(), rows.last().map(key));
        let readable = |row: &Property| principal.may(Permission::ClientRead, Object::Property(&row.id));
        rows.into_iter().filter(readable).for_each(|row| scan.keep(row));
    }
    let (rows, next_cursor) = scan.rows(key)?;
    Ok(Page { items: rows.iter().map(shown).collect(), next_cursor })
}

impl App {
    /// Returns the properties that the principal can read, oldest first.
    pub async fn list_properties(
        &self,
        principal: &Principal,
        query: &ListQuery,
    ) -> Result<Page<api::Property>, Error> {
        principal.may_begin(Operation::ListProperties)?;
        let start = self.cursors.start("properties", query)?;
        let _turns = self.costly(Operation::ListProperties, principal).await?;
        self.read(async |tx| {
            let principal = &principal.refreshed(tx, self.clock.now()).await?;
            properties_page(tx, principal, &start).await
        })
        .await
    }

    /// Returns a property and its version.
    pub async fn read_property(
        &self,
        principal: &Principal,
        path: PropertyPath<'_>,
    ) -> Result<Versioned<api::Property>, Error> {
        self.view(Operation::ReadProperty, principal, path, async |_, _, property| {
            Ok(Versioned::new(shown(&property), property.version))
        })
        .await
    }

    /// Creates a property.
    pub async fn create_property(
        &self,
        request: &Request<'_>,
        input: Input<'_, PropertyBody>,
    ) -> Result<Versioned<api::Property>, Error> {
        self.change(Operation::CreateProperty, request, Platform, async |act, _, ()| {
            act.matches_list()?;
            let name = Name::parse("name", &input.read()?.name)?;
            if act.tx.property_named(&name).await?.is_some() {
                return Err(name_taken().into());
            }
            let property = Property {
                id: PropertyId::generate(self.random.as_ref()),
                name,
                created_at: act.now,
                version: 1,
            };
            act.tx.insert_property(&property.id, &property.name, act.now).await?;
            let event = Event::PropertyCreated { name: property.name.to_string() };
            act.audit(&event, About::target(&property.id)).await?;
            Ok(Versioned::new(shown(&property), property.version))
        })
        .await
    }

    /// Renames a property.
    pub async fn update_property(
        &self,
        request: &Request<'_>,
        path: PropertyPath<'_>,
        input: Input<'_, PropertyBody>,
    ) -> Result<Versioned<api::Property>, Error> {
        self.change(Operation::UpdateProperty, request, path, async |act, _, mut property: Property| {
            act.matches(property.version)?;
            let name = Name::parse("name", &input.read()?.name)?;
            if act.tx.property_named(&name).await?.is_some_and(|other| other != property.id) {
                return Err(name_taken().into());
            }
            act.tx.rename_property(&property.id, &name).await?;
            let event =
                Event::PropertyUpdated { name: name.to_string(), name_before: property.name.to_string() };
            act.audit(&event, About::target(&property.id)).await?;
            property.name = name;
            Ok(Versioned::new(shown(&property), property.version + 1))
        })
        .await
    }

    /// Deletes a property that has never had a client.
    pub async fn delete_property(
        &self,
        request: &Request<'_>,
        path: PropertyPath<'_>,
        input: NoInput<'_>,
    ) -> Result<(), Error> {
        self.change(Operation::DeleteProperty, request, path, async |act, _, property: Property| {
            act.matches(property.version)?;
            input.check()?;
            if act.tx.property_has_clients(&property.id).await? {
                return Err(Problem::new(
                    Code::InUse,
                    "The property cannot be deleted because it has or had clients. Nothing was changed.",
                )
                .into());
            }
            act.tx.delete_limits_of_property(&property.id).await?;
            act.tx.delete_webhooks_of_property(&property.id).await?;
            act.tx.delete_property(&property.id).await?;
            self.end_grants_on(act, &Scope::Property(property.id.clone())).await?;
            let event = Event::PropertyDeleted { name: property.name.to_string() };
            act.audit(&event, About::target(&property.id)).await
        })
        .await
    }
}
