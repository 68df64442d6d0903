-- name: operation
SELECT id, shard, kind, at, terms FROM operation WHERE id = $1

-- name: postings_of_operation
-- By one of its accounts, which every movement of it touches: there is no index of operations.
WITH touched AS (SELECT id FROM account WHERE owner = $2 AND kind = $3 AND shard = $4)
SELECT p.*, debit.owner AS debit_owner, debit.kind AS debit_kind, credit.owner AS credit_owner, credit.kind AS credit_kind
FROM whole_posting p JOIN account debit ON debit.id = p.debit_account JOIN account credit ON credit.id = p.credit_account
WHERE p.day = ANY(:days) AND p.operation = $1
    AND (p.debit_account = (SELECT id FROM touched) OR p.credit_account = (SELECT id FROM touched))
ORDER BY p.kafka_offset, p.item

-- name: days
-- The newest first: what is asked for is mostly of these.
SELECT day FROM ledger_day ORDER BY day DESC

-- name: postings_of_request
-- A request's id says nothing of a day: so many days at a time that their locks are few.
SELECT p.*, debit.owner AS debit_owner, debit.kind AS debit_kind, credit.owner AS credit_owner, credit.kind AS credit_kind
FROM whole_posting p JOIN account debit ON debit.id = p.debit_account JOIN account credit ON credit.id = p.credit_account
WHERE p.request = $1 AND p.day = ANY(:days)
ORDER BY p.at, p.shard, p.kafka_offset, p.item LIMIT $2

-- name: letters_of
-- What of it was set aside: by what it freezes, and by what the event says.
SELECT shard, kafka_offset, item, reason, event, decision FROM dead_letter
WHERE subject = $1 OR position($1 IN event) > 0
ORDER BY shard, kafka_offset, item

-- name: next_offset
SELECT next_offset FROM shard WHERE shard = $1
