-- Declared proxies that send no address of the caller that can be read, and when that was noted last.
CREATE TABLE unreadable_proxies (
    address TEXT PRIMARY KEY,
    noted_at BIGINT NOT NULL
);
