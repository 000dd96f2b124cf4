-- A shop's catalogue and its customers, as Shopify has them, and how far full loads have come.

SET lock_timeout = '3s';

-- deleted_at: Shopify has it no more; such a product is archived here, since orders and statistics still name it.
CREATE TABLE products (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    shopify_product_id bigint NOT NULL,
    title text NOT NULL,
    handle text NOT NULL,
    status text NOT NULL CHECK (status IN ('active', 'archived', 'draft', 'unlisted')),
    vendor text,
    product_type text,
    tags text[] NOT NULL DEFAULT '{}',
    description_html text,
    seo_title text,
    seo_description text,
    options jsonb NOT NULL DEFAULT '[]',
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    min_price_cents bigint,
    max_price_cents bigint,
    inventory_quantity integer,
    variants_count integer,
    published_at timestamptz,
    shopify_created_at timestamptz NOT NULL,
    shopify_updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    synced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, shopify_product_id)
);
CALL protect('products');
CALL declare_data('products', '{"title": "nothing", "handle": "nothing", "status": "nothing", "vendor": "nothing",
    "product_type": "nothing", "tags": "nothing", "description_html": "nothing", "seo_title": "nothing",
    "seo_description": "nothing", "options": "nothing", "currency": "nothing"}');

-- Variants and images do not refer to their product by a foreign key: in a bulk operation's result a child may come before
-- its parent, and the check of every row would take a third of a full load's time. Nor does what a full load writes refer to
-- its tenant: the policy lets only the bound tenant's rows in, and checking the same tenant row by row is a fifth.
CREATE TABLE variants (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    shopify_variant_id bigint NOT NULL,
    shopify_product_id bigint NOT NULL,
    title text NOT NULL,
    position integer NOT NULL,
    price_cents bigint NOT NULL,
    compare_at_price_cents bigint,
    sku text,
    barcode text,
    options jsonb NOT NULL DEFAULT '[]',
    shopify_inventory_item_id bigint,
    inventory_quantity integer,
    sells_without_stock boolean NOT NULL DEFAULT false,
    taxable boolean NOT NULL DEFAULT true,
    shopify_updated_at timestamptz NOT NULL,
    deleted_at timestamptz,
    synced_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, shopify_variant_id)
);
CREATE INDEX variants_by_product ON variants (tenant_id, shopify_product_id);
CALL protect('variants');
CALL declare_data('variants', '{"title": "nothing", "sku": "nothing", "barcode": "nothing", "options": "nothing"}');

CREATE TABLE product_images (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    shopify_product_id bigint NOT NULL,
    shopify_media_id bigint NOT NULL,
    position bigint NOT NULL,
    url text NOT NULL,
    alt text,
    PRIMARY KEY (tenant_id, shopify_product_id, shopify_media_id)
);
CALL protect('product_images');
CALL declare_data('product_images', '{"url": "nothing", "alt": "nothing"}');

-- What only a customer's own state tells. profile_updated_at is the instant of that state; source_updated_at, which orders
-- move as well, is that of name and address.
ALTER TABLE customers
    ADD COLUMN profile_updated_at timestamptz,
    ADD COLUMN shopify_created_at timestamptz,
    ADD COLUMN locale text,
    ADD COLUMN account_state text,
    ADD COLUMN verified_email boolean,
    ADD COLUMN orders_count integer,
    ADD COLUMN total_spent_cents bigint,
    ADD COLUMN currency text,
    ADD COLUMN default_address_id bigint,
    ADD COLUMN segments text[] NOT NULL DEFAULT '{}',
    ADD COLUMN deleted_at timestamptz;
INSERT INTO personal_data (table_name, column_name, holds, on_redact)
VALUES ('customers', 'locale', 'personal', 'delete'), ('customers', 'account_state', 'nothing', 'delete'),
       ('customers', 'currency', 'nothing', 'delete'), ('customers', 'segments', 'personal', 'delete');

CREATE TABLE customer_addresses (
    tenant_id uuid NOT NULL DEFAULT current_tenant(),
    shopify_customer_id bigint NOT NULL,
    shopify_address_id bigint NOT NULL,
    first_name text,
    last_name text,
    company text,
    address1 text,
    address2 text,
    city text,
    province_code text,
    country_code text,
    zip text,
    phone text,
    PRIMARY KEY (tenant_id, shopify_customer_id, shopify_address_id)
);
CALL protect('customer_addresses');
CALL declare_data('customer_addresses', '{"shopify_customer_id": "customer delete", "first_name": "personal delete",
    "last_name": "personal delete", "company": "personal delete", "address1": "personal delete",
    "address2": "personal delete", "city": "personal delete", "province_code": "personal delete",
    "country_code": "personal delete", "zip": "personal delete", "phone": "phone delete"}');

-- Bulk operations that a run of ours waits for: the webhook that tells of their end wakes it.
CREATE TABLE bulk_operations (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    operation_id bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('products', 'customers')),
    task text NOT NULL,
    cause text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (tenant_id, operation_id)
);
CALL protect('bulk_operations');
CALL declare_data('bulk_operations', '{"kind": "nothing", "task": "nothing", "cause": "nothing"}');

-- What a run has seen so far at Shopify, part by part, in order to know at its end what is no longer there.
CREATE TABLE seen (
    tenant_id uuid NOT NULL REFERENCES tenants DEFAULT current_tenant(),
    run_id uuid NOT NULL,
    kind text NOT NULL,
    part integer NOT NULL,
    shopify_ids bigint[] NOT NULL DEFAULT '{}',
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, run_id, kind, part)
);
CALL protect('seen');
CALL declare_data('seen', '{"kind": "nothing"}');

-- Wake a run of the bound tenant that waits for its next message: the relay releases it at once.
CREATE FUNCTION wake_run(p_task text, p_cause text) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE outbox SET due_at = clock_timestamp()
    WHERE tenant_id = current_tenant() AND task = p_task AND cause = p_cause AND state = 'held'
      AND due_at > clock_timestamp();
    RETURN FOUND;
END
$$;
REVOKE EXECUTE ON FUNCTION wake_run(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION wake_run(text, text) TO tradewind_app;
