-- Networks from which a registration may be used, separated by spaces; NULL allows every address.
ALTER TABLE registrations ADD COLUMN allowed_networks TEXT;
