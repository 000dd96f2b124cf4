-- week_and_days --
-- A week and the one before it, and the days of both, as they were counted last.
SELECT period, starts_on, currency, orders, net_sales_cents, average_order_cents, customers, new_customers, visitors,
       attributed_cents, sources
FROM analytics_metrics
WHERE (period = 'week' AND starts_on IN (%(monday)s, %(monday)s - 7))
   OR (period = 'day' AND starts_on BETWEEN %(monday)s - 7 AND %(monday)s + 6)
ORDER BY starts_on;
