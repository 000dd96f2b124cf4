-- save_operation --
-- Who waits for a bulk operation.
INSERT INTO bulk_operations (operation_id, kind, task, cause) VALUES (%(operation_id)s, %(bulk_kind)s, %(task)s, %(cause)s)
ON CONFLICT (tenant_id, operation_id) DO UPDATE SET task = excluded.task, cause = excluded.cause, finished_at = NULL;

-- close_operation --
-- Nobody waits any more.
UPDATE bulk_operations SET finished_at = now() WHERE operation_id = %(operation_id)s AND finished_at IS NULL;

-- knows_products --
-- Whether anything was here before a load.
SELECT 1 AS known
WHERE EXISTS (SELECT FROM products) OR EXISTS (SELECT FROM variants) OR EXISTS (SELECT FROM product_images);

-- knows_customers --
-- The same of customers.
SELECT 1 AS known WHERE EXISTS (SELECT FROM customers) OR EXISTS (SELECT FROM customer_addresses);

-- stage_products --
-- A part of the products' lines: a column a field, for products, variants and images alike. An unknown kind is an error.
CREATE TEMPORARY TABLE bulk_lines (
    id text, "__parentId" text, title text, handle text, status text, vendor text, "productType" text, tags jsonb,
    "descriptionHtml" text, "createdAt" timestamptz, "updatedAt" timestamptz, "publishedAt" timestamptz,
    "totalInventory" integer, seo jsonb, options jsonb, "priceRangeV2" jsonb, "variantsCount" json, position integer,
    price numeric, "compareAtPrice" numeric, sku text, barcode text, "selectedOptions" jsonb, "inventoryItem" json,
    "inventoryQuantity" integer, "inventoryPolicy" text, taxable boolean, image json, alt text,
    CHECK (coalesce(starts_with(id, 'gid://shopify/ProductVariant/') OR starts_with(id, 'gid://shopify/Product/')
                    OR starts_with(id, 'gid://shopify/MediaImage/'), "__parentId" IS NOT NULL))
) ON COMMIT DROP;

-- stage_customers --
-- The same of customers and their addresses.
CREATE TEMPORARY TABLE bulk_lines (
    id text, "__parentId" text, "firstName" text, "lastName" text, locale text, state text, "verifiedEmail" boolean,
    "numberOfOrders" integer, tags jsonb, "createdAt" timestamptz, "updatedAt" timestamptz, "amountSpent" jsonb,
    "defaultEmailAddress" jsonb, "defaultPhoneNumber" json, "defaultAddress" json, company text, address1 text,
    address2 text, city text, "provinceCode" text, "countryCodeV2" text, zip text, phone text,
    CHECK (coalesce(starts_with(id, 'gid://shopify/Customer/') OR starts_with(id, 'gid://shopify/MailingAddress/'),
                    "__parentId" IS NOT NULL))
) ON COMMIT DROP;

-- staged_fields --
-- What a line is asked for, in the staged table's order.
SELECT attname AS field FROM pg_attribute WHERE attrelid = 'pg_temp.bulk_lines'::regclass AND attnum > 0 ORDER BY attnum;

-- copy_lines --
-- One line a row.
COPY bulk_lines FROM STDIN (FORMAT csv);

-- load_products --
-- As save_products of product_sync, from staged lines; rows that are the same are not written. In the key's order, like all
-- that follow: parts that are loaded side by side never wait for each other in a circle, and an index is filled page by page.
-- A shop's first load leaves the conflict clause of these statements out, which costs a third of a row's writing.
INSERT INTO products AS p (
    shopify_product_id, title, handle, status, vendor, product_type, tags, description_html, seo_title, seo_description,
    options, currency, min_price_cents, max_price_cents, inventory_quantity, variants_count, published_at,
    shopify_created_at, shopify_updated_at)
SELECT
    substr(r.id, 23)::bigint, r.title, r.handle, lower(r.status), nullif(r.vendor, ''), nullif(r."productType", ''),
    ARRAY(SELECT jsonb_array_elements_text(r.tags)), nullif(r."descriptionHtml", ''), r.seo ->> 'title',
    r.seo ->> 'description', coalesce(r.options, '[]'), r."priceRangeV2" #>> '{minVariantPrice,currencyCode}',
    round((r."priceRangeV2" #>> '{minVariantPrice,amount}')::numeric * %(factor)s)::bigint,
    round((r."priceRangeV2" #>> '{maxVariantPrice,amount}')::numeric * %(factor)s)::bigint,
    r."totalInventory", (r."variantsCount" ->> 'count')::integer, r."publishedAt", r."createdAt", r."updatedAt"
FROM bulk_lines r
WHERE r.id LIKE 'gid://shopify/Product/%%'
ORDER BY 1
ON CONFLICT (tenant_id, shopify_product_id) DO UPDATE SET
    title = excluded.title, handle = excluded.handle, status = excluded.status, vendor = excluded.vendor,
    product_type = excluded.product_type, tags = excluded.tags, description_html = excluded.description_html,
    seo_title = excluded.seo_title, seo_description = excluded.seo_description, options = excluded.options,
    currency = excluded.currency, min_price_cents = excluded.min_price_cents, max_price_cents = excluded.max_price_cents,
    inventory_quantity = excluded.inventory_quantity, variants_count = excluded.variants_count,
    published_at = excluded.published_at, shopify_created_at = excluded.shopify_created_at,
    shopify_updated_at = excluded.shopify_updated_at, deleted_at = NULL, synced_at = now()
WHERE CASE WHEN p.deleted_at IS NULL THEN excluded.shopify_updated_at > p.shopify_updated_at
           ELSE %(read_at)s > p.deleted_at AND excluded.shopify_updated_at >= p.shopify_updated_at END;

-- load_variants --
-- As save_variants of product_sync, from staged lines.
INSERT INTO variants AS v (
    shopify_variant_id, shopify_product_id, title, position, price_cents, compare_at_price_cents, sku, barcode, options,
    shopify_inventory_item_id, inventory_quantity, sells_without_stock, taxable, shopify_updated_at)
SELECT
    substr(r.id, 30)::bigint, substr(r."__parentId", 23)::bigint, r.title, r.position,
    round(r.price * %(factor)s)::bigint, round(r."compareAtPrice" * %(factor)s)::bigint, nullif(r.sku, ''),
    nullif(r.barcode, ''), coalesce(r."selectedOptions", '[]'), substr(r."inventoryItem" ->> 'id', 29)::bigint,
    r."inventoryQuantity", r."inventoryPolicy" = 'CONTINUE', r.taxable, r."updatedAt"
FROM bulk_lines r
WHERE r.id LIKE 'gid://shopify/ProductVariant/%%'
ORDER BY 2, 1
ON CONFLICT (tenant_id, shopify_product_id, shopify_variant_id) DO UPDATE SET
    title = excluded.title, position = excluded.position,
    price_cents = excluded.price_cents, compare_at_price_cents = excluded.compare_at_price_cents, sku = excluded.sku,
    barcode = excluded.barcode, options = excluded.options,
    shopify_inventory_item_id = excluded.shopify_inventory_item_id, inventory_quantity = excluded.inventory_quantity,
    sells_without_stock = excluded.sells_without_stock, taxable = excluded.taxable,
    shopify_updated_at = excluded.shopify_updated_at, deleted_at = NULL, synced_at = now()
WHERE CASE WHEN v.deleted_at IS NULL THEN excluded.shopify_updated_at > v.shopify_updated_at
           ELSE %(read_at)s > v.deleted_at AND excluded.shopify_updated_at >= v.shopify_updated_at END;

-- load_images --
-- Images; the order of lines is not the product's, so that a known image keeps its place.
INSERT INTO product_images AS i (shopify_product_id, shopify_media_id, position, url, alt)
SELECT substr(r."__parentId", 23)::bigint, substr(r.id, 26)::bigint, row_number() OVER (PARTITION BY r."__parentId"),
       r.image ->> 'url', nullif(r.alt, '')
FROM bulk_lines r
WHERE r.id LIKE 'gid://shopify/MediaImage/%%' AND r.image ->> 'url' IS NOT NULL
ORDER BY 1, 2
ON CONFLICT (tenant_id, shopify_product_id, shopify_media_id) DO UPDATE SET url = excluded.url, alt = excluded.alt
WHERE (i.url, i.alt) IS DISTINCT FROM (excluded.url, excluded.alt);

-- load_customers --
-- As save_profiles of customer_sync, from staged lines.
INSERT INTO customers AS c (
    shopify_customer_id, email, first_name, last_name, phone, accepts_marketing, tags, source_updated_at,
    profile_updated_at, shopify_created_at, locale, account_state, verified_email, orders_count, total_spent_cents,
    currency, default_address_id)
SELECT
    substr(r.id, 24)::bigint, r."defaultEmailAddress" ->> 'emailAddress', r."firstName", r."lastName",
    r."defaultPhoneNumber" ->> 'phoneNumber',
    coalesce(r."defaultEmailAddress" ->> 'marketingState' = 'SUBSCRIBED', false),
    ARRAY(SELECT jsonb_array_elements_text(r.tags)), r."updatedAt",
    r."updatedAt", r."createdAt", r.locale, lower(r.state), r."verifiedEmail", r."numberOfOrders",
    round((r."amountSpent" ->> 'amount')::numeric * %(factor)s)::bigint, r."amountSpent" ->> 'currencyCode',
    substr(split_part(r."defaultAddress" ->> 'id', '?', 1), 30)::bigint
FROM bulk_lines r
WHERE r.id LIKE 'gid://shopify/Customer/%%'
ORDER BY 1
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
           ELSE %(read_at)s > c.deleted_at END;

-- load_addresses --
-- Customers' addresses.
INSERT INTO customer_addresses AS a (shopify_customer_id, shopify_address_id, first_name, last_name, company, address1,
                                     address2, city, province_code, country_code, zip, phone)
SELECT substr(r."__parentId", 24)::bigint, substr(split_part(r.id, '?', 1), 30)::bigint, r."firstName", r."lastName",
       r.company, r.address1, r.address2, r.city, r."provinceCode", r."countryCodeV2", r.zip, r.phone
FROM bulk_lines r
WHERE r.id LIKE 'gid://shopify/MailingAddress/%%'
ORDER BY 1, 2
ON CONFLICT (tenant_id, shopify_customer_id, shopify_address_id) DO UPDATE SET
    first_name = excluded.first_name, last_name = excluded.last_name, company = excluded.company,
    address1 = excluded.address1, address2 = excluded.address2, city = excluded.city,
    province_code = excluded.province_code, country_code = excluded.country_code, zip = excluded.zip,
    phone = excluded.phone
WHERE (a.first_name, a.last_name, a.company, a.address1, a.address2, a.city, a.province_code, a.country_code, a.zip, a.phone)
      IS DISTINCT FROM (excluded.first_name, excluded.last_name, excluded.company, excluded.address1, excluded.address2,
                        excluded.city, excluded.province_code, excluded.country_code, excluded.zip, excluded.phone);

-- note_seen --
-- The ids of a part's lines, by kind: what was here and is not among them is gone.
INSERT INTO seen (run_id, kind, part, shopify_ids)
SELECT %(run_id)s, split_part(r.id, '/', 4), %(part)s, array_agg(split_part(split_part(r.id, '/', 5), '?', 1)::bigint)
FROM bulk_lines r WHERE r.id IS NOT NULL GROUP BY 2
ON CONFLICT (tenant_id, run_id, kind, part) DO UPDATE SET shopify_ids = excluded.shopify_ids;

-- archive_products --
-- Products that a complete load has not met and that were here before it began; they come back.
WITH missed AS (
    SELECT p.shopify_product_id AS id FROM products p WHERE p.deleted_at IS NULL AND p.synced_at < %(read_at)s
    EXCEPT SELECT unnest(s.shopify_ids) FROM seen s WHERE s.run_id = %(run_id)s AND s.kind = 'Product'
), gone AS (
    UPDATE products p SET status = 'archived', deleted_at = %(read_at)s
    FROM missed m WHERE p.shopify_product_id = m.id
    RETURNING p.shopify_product_id
), left_collections AS (
    DELETE FROM product_collections c USING gone g WHERE c.shopify_product_id = g.shopify_product_id
)
SELECT g.shopify_product_id AS id FROM gone g ORDER BY 1;

-- archive_variants --
-- The same for variants.
WITH missed AS (
    SELECT v.shopify_variant_id AS id FROM variants v WHERE v.deleted_at IS NULL AND v.synced_at < %(read_at)s
    EXCEPT SELECT unnest(s.shopify_ids) FROM seen s WHERE s.run_id = %(run_id)s AND s.kind = 'ProductVariant'
)
UPDATE variants v SET deleted_at = %(read_at)s FROM missed m WHERE v.shopify_variant_id = m.id;

-- delete_images --
-- Images that a complete load has not met, of products that have not changed since it began.
WITH missed AS (
    SELECT i.shopify_product_id AS product, i.shopify_media_id AS id
    FROM product_images i JOIN products p USING (shopify_product_id) WHERE p.shopify_updated_at < %(read_at)s
), met AS (
    SELECT unnest(s.shopify_ids) AS id FROM seen s WHERE s.run_id = %(run_id)s AND s.kind = 'MediaImage'
), gone AS (
    SELECT id FROM missed EXCEPT SELECT id FROM met
)
DELETE FROM product_images i USING missed m JOIN gone g USING (id)
WHERE i.shopify_product_id = m.product AND i.shopify_media_id = m.id;

-- archive_customers --
-- Customers that a complete load has not met and that were here before it began; they come back. Of whom only orders have
-- told it says nothing.
WITH missed AS (
    SELECT c.shopify_customer_id AS id FROM customers c
    WHERE c.deleted_at IS NULL AND c.profile_updated_at IS NOT NULL AND c.synced_at < %(read_at)s
    EXCEPT SELECT unnest(s.shopify_ids) FROM seen s WHERE s.run_id = %(run_id)s AND s.kind = 'Customer'
)
UPDATE customers c SET deleted_at = %(read_at)s FROM missed m WHERE c.shopify_customer_id = m.id
RETURNING c.shopify_customer_id AS id;

-- delete_addresses --
-- Addresses that a complete load has not met, of customers that have not changed since it began.
WITH missed AS (
    SELECT a.shopify_customer_id AS customer, a.shopify_address_id AS id
    FROM customer_addresses a JOIN customers c USING (shopify_customer_id) WHERE c.profile_updated_at < %(read_at)s
), met AS (
    SELECT unnest(s.shopify_ids) AS id FROM seen s WHERE s.run_id = %(run_id)s AND s.kind = 'MailingAddress'
), gone AS (
    SELECT id FROM missed EXCEPT SELECT id FROM met
)
DELETE FROM customer_addresses a USING missed m JOIN gone g USING (id)
WHERE a.shopify_customer_id = m.customer AND a.shopify_address_id = m.id;
