-- find_product --
-- What decides whether a change is contained already.
SELECT shopify_product_id, shopify_updated_at, deleted_at FROM products WHERE shopify_product_id = %(product_id)s;

-- save_products --
-- Write products as they were at read_at. Only a newer state overwrites an older; a deleted product comes back only by an
-- answer that was asked for after its deletion.
INSERT INTO products AS p (
    shopify_product_id, title, handle, status, vendor, product_type, tags, description_html, seo_title, seo_description,
    options, currency, min_price_cents, max_price_cents, inventory_quantity, variants_count, published_at,
    shopify_created_at, shopify_updated_at)
SELECT
    r.shopify_product_id, r.title, r.handle, r.status, r.vendor, r.product_type, r.tags, r.description_html, r.seo_title,
    r.seo_description, r.options, r.currency, r.min_price_cents, r.max_price_cents, r.inventory_quantity,
    r.variants_count, r.published_at, r.shopify_created_at, r.shopify_updated_at
FROM jsonb_populate_recordset(NULL::products, %(products)s) r
ORDER BY r.shopify_product_id
ON CONFLICT (tenant_id, shopify_product_id) DO UPDATE SET
    title = excluded.title, handle = excluded.handle, status = excluded.status, vendor = excluded.vendor,
    product_type = excluded.product_type, tags = excluded.tags, description_html = excluded.description_html,
    seo_title = excluded.seo_title, seo_description = excluded.seo_description, options = excluded.options,
    currency = excluded.currency, min_price_cents = excluded.min_price_cents, max_price_cents = excluded.max_price_cents,
    inventory_quantity = excluded.inventory_quantity, variants_count = excluded.variants_count,
    published_at = excluded.published_at, shopify_created_at = excluded.shopify_created_at,
    shopify_updated_at = excluded.shopify_updated_at, deleted_at = NULL, synced_at = now()
WHERE CASE WHEN p.deleted_at IS NULL THEN excluded.shopify_updated_at > p.shopify_updated_at
           ELSE %(read_at)s > p.deleted_at AND excluded.shopify_updated_at >= p.shopify_updated_at END
RETURNING p.shopify_product_id;

-- save_variants --
-- The same for variants, each by its own instant.
INSERT INTO variants AS v (
    shopify_variant_id, shopify_product_id, title, position, price_cents, compare_at_price_cents, sku, barcode, options,
    shopify_inventory_item_id, inventory_quantity, sells_without_stock, taxable, shopify_updated_at)
SELECT
    r.shopify_variant_id, r.shopify_product_id, r.title, r.position, r.price_cents, r.compare_at_price_cents, r.sku,
    r.barcode, r.options, r.shopify_inventory_item_id, r.inventory_quantity, r.sells_without_stock, r.taxable,
    r.shopify_updated_at
FROM jsonb_populate_recordset(NULL::variants, %(variants)s) r
ORDER BY r.shopify_product_id, r.shopify_variant_id
ON CONFLICT (tenant_id, shopify_product_id, shopify_variant_id) DO UPDATE SET
    title = excluded.title, position = excluded.position,
    price_cents = excluded.price_cents, compare_at_price_cents = excluded.compare_at_price_cents, sku = excluded.sku,
    barcode = excluded.barcode, options = excluded.options,
    shopify_inventory_item_id = excluded.shopify_inventory_item_id, inventory_quantity = excluded.inventory_quantity,
    sells_without_stock = excluded.sells_without_stock, taxable = excluded.taxable,
    shopify_updated_at = excluded.shopify_updated_at, deleted_at = NULL, synced_at = now()
WHERE CASE WHEN v.deleted_at IS NULL THEN excluded.shopify_updated_at > v.shopify_updated_at
           ELSE %(read_at)s > v.deleted_at AND excluded.shopify_updated_at >= v.shopify_updated_at END;

-- replace_images --
-- The images of these products, as a whole.
WITH wanted AS (
    SELECT * FROM jsonb_populate_recordset(NULL::product_images, %(images)s)
), gone AS (
    DELETE FROM product_images i
    WHERE i.shopify_product_id = ANY (%(product_ids)s)
      AND NOT EXISTS (SELECT FROM wanted w WHERE w.shopify_product_id = i.shopify_product_id
                                             AND w.shopify_media_id = i.shopify_media_id)
)
INSERT INTO product_images AS i (shopify_product_id, shopify_media_id, position, url, alt)
SELECT w.shopify_product_id, w.shopify_media_id, w.position, w.url, w.alt FROM wanted w
ON CONFLICT (tenant_id, shopify_product_id, shopify_media_id) DO UPDATE SET
    position = excluded.position, url = excluded.url, alt = excluded.alt
WHERE (i.position, i.url, i.alt) IS DISTINCT FROM (excluded.position, excluded.url, excluded.alt);

-- prune_variants --
-- Variants that are missing from products that were read whole, unless they are newer than that reading.
UPDATE variants v SET deleted_at = %(read_at)s
FROM jsonb_populate_recordset(NULL::products, %(whole_products)s) g
WHERE v.shopify_product_id = g.shopify_product_id AND v.deleted_at IS NULL
  AND v.shopify_updated_at <= g.shopify_updated_at AND NOT v.shopify_variant_id = ANY (%(variant_ids)s);

-- prune_unseen_variants --
-- The same for one product whose variants were read over several messages.
UPDATE variants v SET deleted_at = %(read_at)s
WHERE v.shopify_product_id = %(product_id)s AND v.deleted_at IS NULL AND v.shopify_updated_at <= %(updated_at)s
  AND NOT EXISTS (SELECT FROM seen s WHERE s.run_id = %(run_id)s AND s.kind = 'variants'
                                       AND v.shopify_variant_id = ANY (s.shopify_ids));

-- mark_deleted --
-- Products that Shopify has no more, and their variants with them; only what was not deleted before comes back.
WITH gone AS (
    UPDATE products p SET status = 'archived', deleted_at = %(read_at)s
    WHERE p.shopify_product_id = ANY (%(product_ids)s) AND p.deleted_at IS NULL
    RETURNING p.shopify_product_id
), without AS (
    UPDATE variants v SET deleted_at = %(read_at)s
    FROM gone g WHERE v.shopify_product_id = g.shopify_product_id AND v.deleted_at IS NULL
), left_collections AS (
    DELETE FROM product_collections c USING gone g WHERE c.shopify_product_id = g.shopify_product_id
)
SELECT g.shopify_product_id FROM gone g ORDER BY 1;

-- save_seen --
-- What a run has seen of a kind in one part; the part read again is the same.
INSERT INTO seen (run_id, kind, part, shopify_ids) VALUES (%(run_id)s, %(kind)s, %(part)s, %(seen_ids)s::bigint[])
ON CONFLICT (tenant_id, run_id, kind, part) DO UPDATE SET shopify_ids = excluded.shopify_ids;

-- forget_seen --
-- The run has ended; what a run that died has left behind goes with it.
DELETE FROM seen WHERE run_id = %(run_id)s OR seen_at < now() - interval '15 days';

-- find_waiting_run --
-- Who waits for a bulk operation.
UPDATE bulk_operations SET finished_at = now()
WHERE operation_id = %(operation_id)s AND finished_at IS NULL
RETURNING task, cause;

-- wake_run --
-- The run that waits goes on at once.
SELECT wake_run(%(task)s, %(cause)s) AS woken;
