// Usage: webhook.mjs standardwebhooks. See README.md for the requests and answers.
import './node18.mjs';
import { serve } from './lines.mjs';

const { Webhook } = await import(process.argv[2]);

await serve(async ({ secret, body, headers }) => ({ payload: new Webhook(secret).verify(body, headers) }), () => ({}));
