/** The names under which the profile keeps prompt sets and their slots. */

export const PROFILE_SETS = 'flan.promptSets';
export const PROMPT_SLOTS = 'flan.promptSlots';

/** What settings sync carries to the user's other machines: a key that is bound to a slot is carried, too. */
export const SYNCED_KEYS = [PROFILE_SETS, PROMPT_SLOTS] as const;
