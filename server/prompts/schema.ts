/** The published JSON schema of prompt sets, as text: written beside a user's sets, so that any editor can check them. */
import schema from '../../media/prompt-set.schema.json';

export const PROMPT_SET_SCHEMA = `${JSON.stringify(schema, null, 2)}\n`;
