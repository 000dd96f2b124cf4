"""The operations that read a shop's catalogue, customers and stock, each with the most that it can cost.

Costs are counted as in ``queries``. A connection's size decides what a call costs: a product brings twenty images, and
ten of its variants where it comes in a page. Who has more of them is asked for by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

from tradewind.catalogue import BulkKind
from tradewind.integrations.shopify.queries import Operation

PRODUCTS_PER_CALL = 12
VARIANTS_IN_PAGE = 10
VARIANTS_PER_CALL = 250
IMAGES_IN_PRODUCT = 20
CUSTOMERS_PER_CALL = 58
ADDRESSES_IN_CUSTOMER = 10
IDS_PER_CALL = 250
LOCATIONS_PER_CALL = 250
COLLECTIONS_PER_CALL = 25

_VARIANT = """
  id title position price compareAtPrice sku barcode taxable inventoryPolicy inventoryQuantity updatedAt
  selectedOptions { name value }
  inventoryItem { id }
"""

_PRODUCT = """
  id title handle status vendor productType tags descriptionHtml createdAt updatedAt publishedAt totalInventory
  seo { title description }
  options(first: 3) { name values }
  priceRangeV2 { minVariantPrice { amount currencyCode } maxVariantPrice { amount currencyCode } }
  variantsCount { count }
"""

_PAGED_PRODUCT = f"""
fragment ProductState on Product {{
  {_PRODUCT}
  media(first: {IMAGES_IN_PRODUCT}) {{ nodes {{ ... on MediaImage {{ id alt image {{ url }} }} }} }}
  variants(first: {VARIANTS_IN_PAGE}) {{ nodes {{ {_VARIANT} }} pageInfo {{ hasNextPage endCursor }} }}
}}
"""

FIND_PRODUCT = Operation(
    "FindProduct",
    f"""query FindProduct($id: ID!) {{
  product(id: $id) {{
    {_PRODUCT}
    media(first: {IMAGES_IN_PRODUCT}) {{ nodes {{ ... on MediaImage {{ id alt image {{ url }} }} }} }}
    variants(first: {VARIANTS_PER_CALL}) {{ nodes {{ {_VARIANT} }} pageInfo {{ hasNextPage endCursor }} }}
  }}
}}""",
    cost=803,
)

PRODUCT_VARIANTS = Operation(
    "ProductVariants",
    f"""query ProductVariants($id: ID!, $after: String) {{
  product(id: $id) {{
    variants(first: {VARIANTS_PER_CALL}, after: $after) {{
      nodes {{ {_VARIANT} }} pageInfo {{ hasNextPage endCursor }}
    }}
  }}
}}""",
    cost=753,
)

LIST_PRODUCTS = Operation(
    "ListProducts",
    f"""query ListProducts($first: Int!, $query: String, $after: String) {{
  products(first: $first, after: $after, query: $query, sortKey: ID) {{
    nodes {{ ...ProductState }}
    pageInfo {{ hasNextPage endCursor }}
  }}
}}{_PAGED_PRODUCT}""",
    cost=998,
)

LIST_PRODUCTS_BY_ID = Operation(
    "ListProductsById",
    f"query ListProductsById($ids: [ID!]!) {{ nodes(ids: $ids) {{ ...ProductState }} }}{_PAGED_PRODUCT}",
    cost=996,
)

_CUSTOMER_FIELDS = """
  id firstName lastName locale state verifiedEmail numberOfOrders tags createdAt updatedAt
  amountSpent { amount currencyCode }
  defaultEmailAddress { emailAddress marketingState }
  defaultPhoneNumber { phoneNumber }
  defaultAddress { id }
"""
_ADDRESS = "id firstName lastName company address1 address2 city provinceCode countryCodeV2 zip phone"

_CUSTOMER = f"""
fragment CustomerState on Customer {{
  {_CUSTOMER_FIELDS}
  addressesV2(first: {ADDRESSES_IN_CUSTOMER}) {{ nodes {{ {_ADDRESS} }} }}
}}
"""

FIND_CUSTOMER = Operation(
    "FindCustomer",
    f"query FindCustomer($id: ID!) {{ customer(id: $id) {{ ...CustomerState }} }}{_CUSTOMER}",
    cost=17,
)

LIST_CUSTOMERS = Operation(
    "ListCustomers",
    f"""query ListCustomers($first: Int!, $query: String, $after: String) {{
  customers(first: $first, after: $after, query: $query, sortKey: ID) {{
    nodes {{ ...CustomerState }}
    pageInfo {{ hasNextPage endCursor }}
  }}
}}{_CUSTOMER}""",
    cost=988,
)

LIST_CUSTOMERS_BY_ID = Operation(
    "ListCustomersById",
    f"query ListCustomersById($ids: [ID!]!) {{ nodes(ids: $ids) {{ ...CustomerState }} }}{_CUSTOMER}",
    cost=986,
)

ADD_TAGS = Operation(
    "AddTags",
    """mutation AddTags($id: ID!, $tags: [String!]!) {
  tagsAdd(id: $id, tags: $tags) {
    node { id }
    userErrors { field message }
  }
}""",
    cost=10,
    mutates=True,
)

LIST_LOCATIONS = Operation(
    "ListLocations",
    f"""query ListLocations {{
  locations(first: {LOCATIONS_PER_CALL}, includeInactive: true) {{ nodes {{ id name isActive }} }}
}}""",
    cost=252,
)

_LEVEL = 'id updatedAt item { id } quantities(names: ["available"]) { name quantity }'

FIND_LEVEL = Operation(
    "FindInventoryLevel",
    f"""query FindInventoryLevel($item: ID!, $location: ID!) {{
  inventoryItem(id: $item) {{ inventoryLevel(locationId: $location) {{ {_LEVEL} }} }}
}}""",
    cost=4,
)

LIST_LEVELS = Operation(
    "ListInventoryLevels",
    f"""query ListInventoryLevels($location: ID!, $query: String, $after: String) {{
  location(id: $location) {{
    inventoryLevels(first: {IDS_PER_CALL}, after: $after, query: $query) {{
      nodes {{ {_LEVEL} }}
      pageInfo {{ hasNextPage endCursor }}
    }}
  }}
}}""",
    cost=753,
)

LIST_ITEM_COSTS = Operation(
    "ListItemCosts",
    f"""query ListItemCosts($query: String, $after: String) {{
  inventoryItems(first: {IDS_PER_CALL}, after: $after, query: $query) {{
    nodes {{ id unitCost {{ amount currencyCode }} }}
    pageInfo {{ hasNextPage endCursor }}
  }}
}}""",
    cost=503,
)

# Kinds of condition differ in the types of their relation and values, which GraphQL does not merge under one name.
_TEXT_CONDITIONS = ("ProductTag", "ProductType", "ProductVendor")


def _condition(side: str, kind: str, fields: str) -> str:
    return f"... on CollectionSource{side}Condition{kind} {{ {fields} }}"


_INCLUSION = " ".join(
    [
        *(
            _condition("Inclusion", kind, f"match{kind}: matchType relation{kind}: relation texts: values")
            for kind in (*_TEXT_CONDITIONS, "ProductTitle")
        ),
        _condition(
            "Inclusion", "VariantPrice", "relationVariantPrice: relation money: value { amount currencyCode }"
        ),
        _condition("Inclusion", "VariantInventory", "relationVariantInventory: relation number: value"),
    ]
)
_EXCLUSION = " ".join(
    _condition("Exclusion", kind, f"match{kind}: matchType relation{kind}: relation texts: values")
    for kind in _TEXT_CONDITIONS
)

_COLLECTION = f"""
fragment CollectionState on Collection {{
  id title handle descriptionHtml sortOrder updatedAt
  productsCount {{ count }}
  sources {{
    __typename id
    ... on CollectionConditionsSource {{
      inclusion {{ matchType conditions {{ __typename id {_INCLUSION} }} }}
      exclusion {{ matchType conditions {{ __typename id {_EXCLUSION} }} }}
    }}
  }}
}}
"""

FIND_COLLECTION = Operation(
    "FindCollection",
    f"query FindCollection($id: ID!) {{ collection(id: $id) {{ ...CollectionState }} }}{_COLLECTION}",
    cost=8,
)

LIST_COLLECTIONS = Operation(
    "ListCollections",
    f"""query ListCollections($after: String) {{
  collections(first: {COLLECTIONS_PER_CALL}, after: $after, sortKey: ID) {{
    nodes {{ ...CollectionState }}
    pageInfo {{ hasNextPage endCursor }}
  }}
}}{_COLLECTION}""",
    cost=202,
)

LIST_MEMBERS = Operation(
    "ListCollectionProducts",
    f"""query ListCollectionProducts($id: ID!, $after: String) {{
  collection(id: $id) {{
    products(first: {IDS_PER_CALL}, after: $after, sortKey: COLLECTION_DEFAULT) {{
      nodes {{ id }}
      pageInfo {{ hasNextPage endCursor }}
    }}
  }}
}}""",
    cost=253,
)

_BULK = "id status errorCode fileSize url partialDataUrl"

START_BULK = Operation(
    "StartBulkOperation",
    f"""mutation StartBulkOperation($query: String!) {{
  bulkOperationRunQuery(query: $query, groupObjects: false) {{
    bulkOperation {{ {_BULK} }}
    userErrors {{ field message code }}
  }}
}}""",
    cost=10,
    mutates=True,
)

FIND_BULK = Operation(
    "FindBulkOperation",
    f"query FindBulkOperation($id: ID!) {{ shop {{ currencyCode }} bulkOperation(id: $id) {{ {_BULK} }} }}",
    cost=2,
)

LIST_BULKS = Operation(
    "ListBulkOperations",
    f"""query ListBulkOperations {{
  shop {{ currencyCode }}
  bulkOperations(first: 25, reverse: true, sortKey: CREATED_AT) {{ nodes {{ query {_BULK} }} }}
}}""",
    cost=28,
)

READ_ALL_PRODUCTS = Operation(
    "ReadAllProducts",
    f"""query ReadAllProducts {{
  products {{
    edges {{
      node {{
        {_PRODUCT.replace("options(first: 3)", "options")}
        media {{ edges {{ node {{ ... on MediaImage {{ id alt image {{ url }} }} }} }} }}
        variants {{ edges {{ node {{ {_VARIANT} }} }} }}
      }}
    }}
  }}
}}""",
    cost=0,
)

READ_ALL_CUSTOMERS = Operation(
    "ReadAllCustomers",
    f"""query ReadAllCustomers {{
  customers {{
    edges {{
      node {{
        {_CUSTOMER_FIELDS}
        addressesV2 {{ edges {{ node {{ {_ADDRESS} }} }} }}
      }}
    }}
  }}
}}""",
    cost=0,
)

BULK_QUERIES: Mapping[BulkKind, Operation] = {
    BulkKind.PRODUCTS: READ_ALL_PRODUCTS,
    BulkKind.CUSTOMERS: READ_ALL_CUSTOMERS,
}
"""What a bulk operation runs: without sizes, since it reads everything, and without points."""

OPERATIONS = (
    FIND_PRODUCT,
    PRODUCT_VARIANTS,
    LIST_PRODUCTS,
    LIST_PRODUCTS_BY_ID,
    FIND_CUSTOMER,
    LIST_CUSTOMERS,
    LIST_CUSTOMERS_BY_ID,
    ADD_TAGS,
    LIST_LOCATIONS,
    FIND_LEVEL,
    LIST_LEVELS,
    FIND_COLLECTION,
    LIST_COLLECTIONS,
    LIST_MEMBERS,
    START_BULK,
    FIND_BULK,
    LIST_BULKS,
)
