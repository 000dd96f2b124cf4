-- find_customer --
-- A customer as the rules read it.
SELECT c.shopify_customer_id, c.profile_updated_at, c.deleted_at, c.email, c.accepts_marketing, c.orders_count,
       c.total_spent_cents, c.tags, c.segments,
       (SELECT a.country_code FROM customer_addresses a
        WHERE a.shopify_customer_id = c.shopify_customer_id AND a.shopify_address_id = c.default_address_id) AS country_code
FROM customers c WHERE c.shopify_customer_id = %(customer_id)s;

-- save_profiles --
-- Write customers as they were at read_at. An older state never overwrites a newer; an equal one is the same. Orders tell
-- name and address as well: where an order of later date has told them they stay.
INSERT INTO customers AS c (
    shopify_customer_id, email, first_name, last_name, phone, accepts_marketing, tags, source_updated_at,
    profile_updated_at, shopify_created_at, locale, account_state, verified_email, orders_count, total_spent_cents,
    currency, default_address_id)
SELECT
    r.shopify_customer_id, r.email, r.first_name, r.last_name, r.phone, r.accepts_marketing, r.tags, r.source_updated_at,
    r.profile_updated_at, r.shopify_created_at, r.locale, r.account_state, r.verified_email, r.orders_count,
    r.total_spent_cents, r.currency, r.default_address_id
FROM jsonb_populate_recordset(NULL::customers, %(profiles)s) r
ORDER BY r.shopify_customer_id
ON CONFLICT (tenant_id, shopify_customer_id) DO UPDATE SET
    email = CASE WHEN excluded.source_updated_at >= c.source_updated_at THEN excluded.email ELSE c.email END,
    first_name = CASE WHEN excluded.source_updated_at >= c.source_updated_at THEN excluded.first_name ELSE c.first_name END,
    last_name = CASE WHEN excluded.source_updated_at >= c.source_updated_at THEN excluded.last_name ELSE c.last_name END,
    phone = CASE WHEN excluded.source_updated_at >= c.source_updated_at THEN excluded.phone ELSE c.phone END,
    accepts_marketing = excluded.accepts_marketing, tags = excluded.tags,
    source_updated_at = greatest(c.source_updated_at, excluded.source_updated_at),
    profile_updated_at = excluded.profile_updated_at, shopify_created_at = excluded.shopify_created_at,
    locale = excluded.locale, account_state = excluded.account_state, verified_email = excluded.verified_email,
    orders_count = excluded.orders_count, total_spent_cents = excluded.total_spent_cents, currency = excluded.currency,
    default_address_id = excluded.default_address_id, deleted_at = NULL, synced_at = now()
WHERE CASE WHEN c.deleted_at IS NULL
           THEN c.profile_updated_at IS NULL OR excluded.profile_updated_at > c.profile_updated_at
           ELSE %(read_at)s > c.deleted_at END
RETURNING c.shopify_customer_id;

-- replace_addresses --
-- The addresses of these customers, as a whole.
WITH wanted AS (
    SELECT * FROM jsonb_populate_recordset(NULL::customer_addresses, %(addresses)s)
), gone AS (
    DELETE FROM customer_addresses a
    WHERE a.shopify_customer_id = ANY (%(customer_ids)s)
      AND NOT EXISTS (SELECT FROM wanted w WHERE w.shopify_customer_id = a.shopify_customer_id
                                             AND w.shopify_address_id = a.shopify_address_id)
)
INSERT INTO customer_addresses (shopify_customer_id, shopify_address_id, first_name, last_name, company, address1, address2,
                                city, province_code, country_code, zip, phone)
SELECT w.shopify_customer_id, w.shopify_address_id, w.first_name, w.last_name, w.company, w.address1, w.address2, w.city,
       w.province_code, w.country_code, w.zip, w.phone
FROM wanted w
ON CONFLICT (tenant_id, shopify_customer_id, shopify_address_id) DO UPDATE SET
    first_name = excluded.first_name, last_name = excluded.last_name, company = excluded.company,
    address1 = excluded.address1, address2 = excluded.address2, city = excluded.city,
    province_code = excluded.province_code, country_code = excluded.country_code, zip = excluded.zip,
    phone = excluded.phone;

-- mark_customers_deleted --
-- Customers that Shopify has no more.
UPDATE customers SET deleted_at = %(read_at)s
WHERE shopify_customer_id = ANY (%(customer_ids)s) AND deleted_at IS NULL
RETURNING shopify_customer_id;

-- save_segments --
-- The segments that a customer is in now; comes back where they have changed.
UPDATE customers SET segments = %(segments)s::text[]
WHERE shopify_customer_id = %(customer_id)s AND segments <> %(segments)s::text[]
RETURNING shopify_customer_id;

-- add_tags --
-- Tags that Shopify has taken, until its own webhook tells them.
UPDATE customers SET tags = tags || %(tags)s::text[]
WHERE shopify_customer_id = %(customer_id)s AND NOT tags @> %(tags)s::text[];
