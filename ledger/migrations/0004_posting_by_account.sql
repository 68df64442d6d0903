-- What moved one account is read in the order of its versions, over all days (a statement). With the account first the
-- index of every day gives that order; with the day first none did. They are as unique as before.
ALTER TABLE posting
    DROP CONSTRAINT posting_day_debit_account_debit_version_key,
    DROP CONSTRAINT posting_day_credit_account_credit_version_key,
    ADD UNIQUE (debit_account, debit_version, day),
    ADD UNIQUE (credit_account, credit_version, day);
