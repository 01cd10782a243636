### Rules of the mapping.

mapping-not-carried-every-column = every column
mapping-not-carried-own-lead = of a lead that Traffic's own code made (a Facebook form): the lead stays on Traffic, and its journey too
mapping-not-carried-landing-lead = always: it says that the lead was born on Traffic through Landing's names
mapping-not-carried-no-such-column = always: Landing has no such column
mapping-not-carried-synced-at = always: it says when a row last came from Landing
mapping-not-carried-phone-normalized = when it is not what its phone gives: it is computed from the phone
mapping-not-carried-source = when no value of Landing's maps to it: null, twland, a longer text with facebook, tiktok or google in it
mapping-not-carried-landing-source = when it does not map to the source: Landing has one column for both
mapping-not-carried-utm = when it was set to null or to the empty text and metadata still says it; when metadata is no object
mapping-not-carried-funnel-type = when the lead's source forces another one; when it is null; when metadata is no object
mapping-not-carried-facebook = when it was set to null and metadata still says it; when metadata is no object
mapping-not-carried-amocrm = when it is negative: it comes as text, and a text with a sign is no number
mapping-not-carried-null-flags = when it is null: that is false, or 0
mapping-not-carried-null-texts = when it is null: Landing has NOT NULL there, and gets the empty text
mapping-not-carried-metadata = gains utm_*, funnel_type and fb_* where it does not imply what Traffic has in these columns
