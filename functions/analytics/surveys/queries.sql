-- schedule_next --
-- When the schedule is to ask this tenant again.
SELECT mark_due(%(schedule)s, %(due_at)s);

-- save_answers --
-- Answers as they are told now; what stands already is not written. The order of one that told another is looked for anew.
INSERT INTO survey_answers AS s (provider, answer_id, question_id, question, answer, original, other, told_order_id,
    order_number, shopify_customer_id, answered_at)
SELECT w.provider, w.answer_id, w.question_id, w.question, w.answer, w.original, w.other, w.told_order_id, w.order_number,
       w.shopify_customer_id, w.answered_at
FROM jsonb_populate_recordset(NULL::survey_answers, %(answers)s) w
ON CONFLICT (tenant_id, provider, answer_id) DO UPDATE SET
    question_id = excluded.question_id, question = excluded.question, answer = excluded.answer, original = excluded.original,
    other = excluded.other, told_order_id = excluded.told_order_id, order_number = excluded.order_number,
    shopify_customer_id = excluded.shopify_customer_id, answered_at = excluded.answered_at, synced_at = now(),
    shopify_order_id = CASE WHEN (s.told_order_id, s.order_number)
                                 IS NOT DISTINCT FROM (excluded.told_order_id, excluded.order_number)
                            THEN s.shopify_order_id END
WHERE (s.question, s.answer, s.original, s.other, s.told_order_id, s.order_number) IS DISTINCT FROM
      (excluded.question, excluded.answer, excluded.original, excluded.other, excluded.told_order_id, excluded.order_number);

-- match_answers --
-- Answers whose order is stored by now: by the shop's number, else by the order's name within two days of the answer.
UPDATE survey_answers s SET shopify_order_id = o.shopify_order_id, matched_at = %(now)s
FROM orders o
WHERE s.shopify_order_id IS NULL AND s.answered_at >= %(since)s
  AND CASE WHEN s.told_order_id IS NOT NULL THEN o.shopify_order_id = s.told_order_id
           ELSE o.placed_at BETWEEN s.answered_at - interval '2 days' AND s.answered_at
            AND ltrim(o.order_number, '#') = ltrim(s.order_number, '#') END;
