-- Names are searched with one form of sigma; a name that ends in it was stored with the final form. A name that would then
-- be the same as another one in its list keeps its form, because no two names of a list are the same.
UPDATE users SET name_key = REPLACE(name_key, 'ς', 'σ') WHERE name_key LIKE '%ς%';
UPDATE clients SET name_key = REPLACE(name_key, 'ς', 'σ') WHERE name_key LIKE '%ς%' AND NOT EXISTS (
    SELECT 1 FROM clients o WHERE o.id <> clients.id AND o.property_id = clients.property_id
       AND o.deleted_at IS NULL AND clients.deleted_at IS NULL
       AND REPLACE(o.name_key, 'ς', 'σ') = REPLACE(clients.name_key, 'ς', 'σ'));
UPDATE properties SET name_key = REPLACE(name_key, 'ς', 'σ') WHERE name_key LIKE '%ς%' AND NOT EXISTS (
    SELECT 1 FROM properties o WHERE o.id <> properties.id
       AND REPLACE(o.name_key, 'ς', 'σ') = REPLACE(properties.name_key, 'ς', 'σ'));
