-- find_collection_update --
-- When a collection was last updated, as far as we know.
SELECT shopify_updated_at FROM collections WHERE shopify_collection_id = %(collection_id)s AND deleted_at IS NULL;

-- save_collections --
-- Write collections as they were at read_at. An older state never overwrites a newer; an equal one is the same.
INSERT INTO collections AS c (shopify_collection_id, title, handle, description_html, sort_order, rules, products_count,
                              shopify_updated_at)
SELECT r.shopify_collection_id, r.title, r.handle, r.description_html, r.sort_order, nullif(r.rules, 'null'),
       r.products_count, r.shopify_updated_at
FROM jsonb_populate_recordset(NULL::collections, %(collections)s) r
ORDER BY r.shopify_collection_id
ON CONFLICT (tenant_id, shopify_collection_id) DO UPDATE SET
    title = excluded.title, handle = excluded.handle, description_html = excluded.description_html,
    sort_order = excluded.sort_order, rules = excluded.rules, products_count = excluded.products_count,
    shopify_updated_at = excluded.shopify_updated_at, deleted_at = NULL, synced_at = now()
WHERE CASE WHEN c.deleted_at IS NULL THEN excluded.shopify_updated_at > c.shopify_updated_at
           ELSE %(read_at)s > c.deleted_at AND excluded.shopify_updated_at >= c.shopify_updated_at END
RETURNING c.shopify_collection_id;

-- mark_collections_deleted --
-- Collections that Shopify has no more; their products leave them.
WITH gone AS (
    UPDATE collections c SET deleted_at = %(read_at)s
    WHERE c.shopify_collection_id = ANY (%(collection_ids)s) AND c.deleted_at IS NULL
    RETURNING c.shopify_collection_id
), left_by AS (
    DELETE FROM product_collections m USING gone g WHERE m.shopify_collection_id = g.shopify_collection_id
)
SELECT g.shopify_collection_id FROM gone g ORDER BY 1;

-- unseen_collections --
-- Collections that a full reading did not meet and that were here before it began.
SELECT c.shopify_collection_id FROM collections c
WHERE c.deleted_at IS NULL AND c.synced_at < %(read_at)s
  AND NOT EXISTS (SELECT FROM seen s WHERE s.run_id = %(run_id)s AND s.kind = 'collections'
                                       AND c.shopify_collection_id = ANY (s.shopify_ids))
ORDER BY 1;

-- save_members --
-- A page of a collection's products in their order; what comes back was new or has moved.
WITH given AS (
    SELECT m.shopify_product_id, m.place FROM unnest(%(member_ids)s::bigint[]) WITH ORDINALITY m (shopify_product_id, place)
)
INSERT INTO product_collections AS p (shopify_collection_id, shopify_product_id, position)
SELECT %(collection_id)s, g.shopify_product_id, %(offset)s + g.place FROM given g
ON CONFLICT (tenant_id, shopify_collection_id, shopify_product_id) DO UPDATE SET position = excluded.position
WHERE p.position <> excluded.position
RETURNING p.xmax = 0 AS new;

-- delete_unseen_members --
-- Products that a reading of the whole collection did not meet.
DELETE FROM product_collections p
WHERE p.shopify_collection_id = %(collection_id)s
  AND NOT EXISTS (SELECT FROM seen s WHERE s.run_id = %(run_id)s AND s.kind = 'members'
                                       AND p.shopify_product_id = ANY (s.shopify_ids))
RETURNING p.shopify_product_id;
