-- Since when the issuer refuses all secrets of a credential, and when that was last recorded.
ALTER TABLE upstream_credentials ADD COLUMN refused_since BIGINT;
ALTER TABLE upstream_credentials ADD COLUMN refusal_recorded_at BIGINT;
CREATE INDEX upstream_credentials_refused ON upstream_credentials (refused_since) WHERE refused_since IS NOT NULL;
-- Earlier programs can run on it: they record no refusals.
