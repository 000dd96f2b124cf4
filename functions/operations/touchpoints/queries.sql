-- save_touchpoints --
-- Touches, each once. Those come back that are new.
SELECT * FROM save_touchpoints(%(touches)s) AS s (touchpoint_id);
