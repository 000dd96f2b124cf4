-- find_level --
-- A level as it is stored.
SELECT available, shopify_updated_at FROM inventory_levels
WHERE shopify_inventory_item_id = %(inventory_item_id)s AND shopify_location_id = %(location_id)s;

-- delete_level --
-- A level that Shopify does not have.
DELETE FROM inventory_levels
WHERE shopify_inventory_item_id = %(inventory_item_id)s AND shopify_location_id = %(location_id)s;

-- list_levels --
-- The levels of these items at a location.
SELECT shopify_inventory_item_id, shopify_location_id, available, shopify_updated_at FROM inventory_levels
WHERE shopify_location_id = %(location_id)s AND shopify_inventory_item_id = ANY (%(item_ids)s);

-- save_levels --
-- Write levels; an older one never overwrites a newer, one of the same instant only where it comes from the API
-- (asked). A level that falls below the threshold becomes low; one that was not known before is low without having fallen.
-- What was written comes back, and whether it fell just now.
WITH given AS (
    SELECT r.shopify_inventory_item_id, r.shopify_location_id, r.available, r.shopify_updated_at
    FROM jsonb_populate_recordset(NULL::inventory_levels, %(levels)s) r
), before AS (
    SELECT l.shopify_inventory_item_id, l.shopify_location_id, l.low_since
    FROM inventory_levels l JOIN given g USING (shopify_inventory_item_id, shopify_location_id)
    ORDER BY 1, 2 FOR NO KEY UPDATE OF l
), written AS (
    INSERT INTO inventory_levels AS l (shopify_inventory_item_id, shopify_location_id, available, shopify_updated_at,
                                       low_since)
    SELECT g.shopify_inventory_item_id, g.shopify_location_id, g.available, g.shopify_updated_at,
           CASE WHEN g.available < %(threshold)s THEN coalesce(b.low_since, g.shopify_updated_at) END
    FROM given g LEFT JOIN before b USING (shopify_inventory_item_id, shopify_location_id)
    ORDER BY 1, 2
    ON CONFLICT (tenant_id, shopify_inventory_item_id, shopify_location_id) DO UPDATE SET
        available = excluded.available, shopify_updated_at = excluded.shopify_updated_at, low_since = excluded.low_since,
        synced_at = now()
    WHERE excluded.shopify_updated_at > l.shopify_updated_at
       OR (%(asked)s AND excluded.shopify_updated_at = l.shopify_updated_at AND excluded.available <> l.available)
    RETURNING l.shopify_inventory_item_id, l.shopify_location_id, l.available, l.shopify_updated_at, l.low_since
)
SELECT w.shopify_inventory_item_id, w.shopify_location_id, w.available, w.shopify_updated_at,
       w.low_since IS NOT NULL AND b.shopify_location_id IS NOT NULL AND b.low_since IS NULL AS fell
FROM written w LEFT JOIN before b USING (shopify_inventory_item_id, shopify_location_id)
ORDER BY 1, 2;

-- save_locations --
-- The shop's locations.
INSERT INTO locations AS l (shopify_location_id, name, active)
SELECT r.shopify_location_id, r.name, r.active FROM jsonb_populate_recordset(NULL::locations, %(locations)s) r
ON CONFLICT (tenant_id, shopify_location_id) DO UPDATE SET name = excluded.name, active = excluded.active, synced_at = now()
WHERE (l.name, l.active) <> (excluded.name, excluded.active);

-- delete_unseen_levels --
-- Levels that a full reading did not meet and that are older than it: Shopify has them no more.
DELETE FROM inventory_levels l
WHERE l.shopify_updated_at < %(read_at)s AND l.synced_at < %(read_at)s
  AND NOT EXISTS (SELECT FROM seen s WHERE s.run_id = %(run_id)s AND s.kind = 'levels:' || l.shopify_location_id
                                       AND l.shopify_inventory_item_id = ANY (s.shopify_ids))
RETURNING l.shopify_inventory_item_id, l.shopify_location_id, l.available;

-- save_differences --
-- What a comparison found.
INSERT INTO inventory_discrepancies (shopify_inventory_item_id, shopify_location_id, kind, ours, theirs, found_at)
SELECT r.shopify_inventory_item_id, r.shopify_location_id, r.kind, r.ours, r.theirs, %(found_at)s
FROM jsonb_populate_recordset(NULL::inventory_discrepancies, %(differences)s) r
ON CONFLICT DO NOTHING;

-- forget_differences --
-- The report goes back thirty days.
DELETE FROM inventory_discrepancies WHERE found_at < %(found_at)s - interval '30 days';

-- find_mark --
-- Until when levels were compared whole.
SELECT complete_until FROM sync_marks WHERE kind = %(mark)s;

-- save_mark --
-- They were compared until then.
INSERT INTO sync_marks AS m (kind, complete_until) VALUES (%(mark)s, %(complete_until)s)
ON CONFLICT (tenant_id, kind) DO UPDATE SET complete_until = greatest(m.complete_until, excluded.complete_until);
