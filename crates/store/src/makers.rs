//! Who may have a way into an account: its creator, and the creators of its links.

use crate::{StoreError, Tx, access::words_json, catalogue::statements};
use crossfade_core::{SessionId, TokenId, UserId};

/// Creator of a link: the account, the credential, and the limit of its token.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Maker {
    /// The account; `None`: the machine, or an account older than this column.
    pub account: Option<UserId>,
    /// Permissions the token was limited to; `None` if it was not limited.
    pub scope: Option<Vec<String>>,
    /// Session in which the link was created.
    pub session: Option<SessionId>,
    /// API token with which the link was created.
    pub token: Option<TokenId>,
}

statements! {
    LINKED = "UPDATE users SET linked_by = $2 WHERE id = $1";
    ADD_MAKER = "INSERT INTO link_makers (account_id, maker_id) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    FORGET_MAKERS = "DELETE FROM link_makers WHERE account_id = $1";
    ENTERED = "UPDATE users SET entered_by = $2, entered_scope = $3 WHERE id = $1";
    ENTRY = "SELECT id, entered_by, entered_scope FROM users WHERE id = $1";
    // Every maker counts, and not the last one alone: an account could make links to hide the makers before. UNION drops what was found before, so that two accounts that made links for each other end the search.
    IS_MADE_BY = "WITH RECURSIVE makers (id) AS (
                    SELECT CAST($1 AS TEXT)
                    UNION
                    SELECT CASE link.kind WHEN 1 THEN u.created_by WHEN 2 THEN u.linked_by WHEN 3 THEN u.entered_by
                                          ELSE l.maker_id END
                    FROM makers m JOIN users u ON u.id = m.id
                    CROSS JOIN (SELECT 1 AS kind UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4) AS link
                    LEFT JOIN link_makers l ON l.account_id = u.id AND link.kind = 4
                  ) SELECT id FROM makers WHERE id = $2 AND id <> $1";
}

impl Tx {
    /// Records the creator of the last link of an account; `None`: the machine. Earlier creators stay recorded.
    pub async fn set_link_maker(
        &mut self,
        account: &UserId,
        maker: Option<&UserId>,
    ) -> Result<(), StoreError> {
        let maker = maker.map(UserId::as_str);
        self.execute(LINKED, vec![account.as_str().into(), maker.into()]).await?;
        match maker {
            Some(maker) => {
                self.execute(ADD_MAKER, vec![account.as_str().into(), maker.into()]).await.map(drop)
            }
            None => Ok(()),
        }
    }

    /// Forgets the creators of earlier links. The creators of the last link, and of the link with which the password
    /// was set, stay recorded.
    pub async fn forget_earlier_makers(&mut self, account: &UserId) -> Result<(), StoreError> {
        self.execute(FORGET_MAKERS, vec![account.as_str().into()]).await.map(drop)
    }

    /// Records the creator of the link with which the password of an account was set.
    pub async fn set_entered_by(&mut self, account: &UserId, maker: &Maker) -> Result<(), StoreError> {
        let (by, scope) = (maker.account.as_ref().map(UserId::as_str), words_json(maker.scope.as_deref()));
        self.execute(ENTERED, vec![account.as_str().into(), by.into(), scope.into()]).await.map(drop)
    }

    /// Returns the creator of the link with which the password of an account was set.
    pub async fn entered_by(&mut self, account: &UserId) -> Result<Maker, StoreError> {
        let Some(row) = self.optional(ENTRY, vec![account.as_str().into()]).await? else {
            return Ok(Maker::default());
        };
        Ok(Maker {
            account: row.opt_parsed("entered_by", |text| UserId::parse(text).ok())?,
            scope: row.opt_parsed("entered_scope", |text| serde_json::from_str(text).ok())?,
            ..Maker::default()
        })
    }

    /// Whether `maker` created `account` or one of its links, directly or through other accounts.
    pub async fn is_made_by(&mut self, account: &UserId, maker: &UserId) -> Result<bool, StoreError> {
        let args = vec![account.as_str().into(), maker.as_str().into()];
        Ok(self.optional(IS_MADE_BY, args).await?.is_some())
    }
}
