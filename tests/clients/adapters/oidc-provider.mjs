// Usage: oidc-provider.mjs PORT. An issuer by its own documentation, which knows nothing of Crossfade. A line of JSON sets
// the secret of one client, and is answered when it is served: {client_id, client_secret}. It has three more clients:
// `other`, which sends its secret in the form, `signed`, which signs its assertions, and `spa`, a public one; and ten that
// are learned, `adopted-0` to `adopted-9`, every second of which sends its secret in the form.
import './node18.mjs';
import http from 'node:http';
import { serve } from './lines.mjs';

// The library writes its notices to stdout, which has the answers.
for (const level of ['log', 'info', 'warn']) console[level] = console.error;

const port = Number(process.argv[2]);
const issuer = `http://127.0.0.1:${port}`;
const { Provider } = await import('oidc-provider');

function provider({ client_id, client_secret }) {
  return new Provider(issuer, {
    clientBasedCORS: () => true,
    clients: [{
      client_id: 'other',
      client_secret: 'secret-of-other',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_post',
    }, {
      client_id: 'signed',
      client_secret: 'secret-of-signed-secret-of-signed',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: 'client_secret_jwt',
    }, {
      client_id: 'spa',
      redirect_uris: ['https://spa.example.com/callback'],
      token_endpoint_auth_method: 'none',
    }, ...Array.from({ length: 10 }, (_, n) => ({
      client_id: `adopted-${n}`,
      client_secret: `secret-%+ of-adopted-${n}`,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      token_endpoint_auth_method: n % 2 ? 'client_secret_post' : 'client_secret_basic',
    })), {
      client_id,
      client_secret,
      grant_types: ['client_credentials', 'authorization_code', 'refresh_token', 'urn:ietf:params:oauth:grant-type:device_code'],
      redirect_uris: ['https://app.example.com/callback'],
      token_endpoint_auth_method: 'client_secret_basic',
    }],
    features: {
      clientCredentials: { enabled: true },
      deviceFlow: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      pushedAuthorizationRequests: { enabled: true },
      devInteractions: { enabled: true },
    },
  });
}

let answer;
const server = http.createServer((request, response) => answer(request, response));
await new Promise((listening) => server.listen(port, '127.0.0.1', listening));

await serve(
  async (request) => {
    answer = provider(request).callback();
    return { issuer };
  },
  async (error) => ({ error: String(error) }),
);
