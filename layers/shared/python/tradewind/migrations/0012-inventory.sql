-- Stock by place, and collections with their members.

SET lock_timeout = '3s';

CREATE TABLE locations (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    shopify_location_id bigint NOT NULL,
    name text NOT NULL,
    active boolean NOT NULL,
    synced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, shopify_location_id)
);
CALL protect('locations');
CALL declare_data('locations', '{"name": "nothing"}');

-- An inventory item is one variant's (variants.shopify_inventory_item_id). low_since: since when the level is below the
-- tenant's threshold; inventory.low is told once, when it falls there.
CREATE TABLE inventory_levels (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    shopify_inventory_item_id bigint NOT NULL,
    shopify_location_id bigint NOT NULL,
    available integer NOT NULL,
    shopify_updated_at timestamptz NOT NULL,
    low_since timestamptz,
    synced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, shopify_inventory_item_id, shopify_location_id)
);
CREATE INDEX inventory_levels_by_location ON inventory_levels (tenant_id, shopify_location_id);
CALL protect('inventory_levels');
CALL declare_data('inventory_levels', '{}');

-- What a comparison of levels found and repaired.
CREATE TABLE inventory_discrepancies (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    shopify_inventory_item_id bigint NOT NULL,
    shopify_location_id bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('missing', 'outdated', 'different', 'gone')),
    ours integer,
    theirs integer,
    found_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, shopify_inventory_item_id, shopify_location_id, found_at)
);
CALL protect('inventory_discrepancies');
CALL declare_data('inventory_discrepancies', '{"kind": "nothing"}');

-- Until when a kind of thing was read whole; the next reading asks for what changed since.
CREATE TABLE sync_marks (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    kind text NOT NULL,
    complete_until timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, kind)
);
CALL protect('sync_marks');
CALL declare_data('sync_marks', '{"kind": "nothing"}');

-- rules: a smart collection's conditions, as model.py of the feature tells them; null where products are chosen by hand.
CREATE TABLE collections (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    shopify_collection_id bigint NOT NULL,
    title text NOT NULL,
    handle text NOT NULL,
    description_html text,
    sort_order text NOT NULL,
    rules jsonb,
    products_count integer,
    shopify_updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    synced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, shopify_collection_id)
);
CALL protect('collections');
CALL declare_data('collections', '{"title": "nothing", "handle": "nothing", "description_html": "nothing",
    "sort_order": "nothing", "rules": "nothing"}');

CREATE TABLE product_collections (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    shopify_collection_id bigint NOT NULL,
    shopify_product_id bigint NOT NULL,
    position integer NOT NULL,
    PRIMARY KEY (tenant_id, shopify_collection_id, shopify_product_id)
);
CREATE INDEX product_collections_by_product ON product_collections (tenant_id, shopify_product_id);
CALL protect('product_collections');
CALL declare_data('product_collections', '{}');
