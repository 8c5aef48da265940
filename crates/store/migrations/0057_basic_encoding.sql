-- How client_id and secret are written into the Authorization header.
ALTER TABLE upstream_credentials ADD COLUMN basic_encoding TEXT NOT NULL DEFAULT 'percent';
-- Earlier programs can run on it: they write all of them percent-encoded.
