-- What happens to requests of clients that are not registered in an environment in front of another issuer.
ALTER TABLE environments ADD COLUMN unregistered_clients TEXT NOT NULL DEFAULT 'refuse';
-- Earlier programs can run on it: they refuse such requests.
