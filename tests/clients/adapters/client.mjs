// Usage: client.mjs oauth4webapi|simple-oauth2. See README.md for the requests and answers.
import './node18.mjs';
import { serve } from './lines.mjs';

async function oauth4webapi() {
  const oauth = await import('oauth4webapi');
  // The library refuses plain http, which is all that a server on loopback has.
  const insecure = { [oauth.allowInsecureRequests]: true };
  const authentication = { basic: oauth.ClientSecretBasic, post: oauth.ClientSecretPost };
  const servers = new Map();

  async function discover({ issuer, discovery = 'oauth2' }) {
    const key = `${discovery} ${issuer}`;
    if (!servers.has(key)) {
      const url = new URL(issuer);
      const response = await oauth.discoveryRequest(url, { algorithm: discovery, ...insecure });
      servers.set(key, await oauth.processDiscoveryResponse(url, response));
    }
    return servers.get(key);
  }

  const operations = {
    discover,
    async token(request, server, client, authenticate) {
      const parameters = new URLSearchParams(request.scope ? { scope: request.scope } : {});
      const response = await oauth.clientCredentialsGrantRequest(server, client, authenticate, parameters, insecure);
      return oauth.processClientCredentialsResponse(server, client, response);
    },
    async introspect(request, server, client, authenticate) {
      const response = await oauth.introspectionRequest(server, client, authenticate, request.token, insecure);
      return oauth.processIntrospectionResponse(server, client, response);
    },
    async revoke(request, server, client, authenticate) {
      const response = await oauth.revocationRequest(server, client, authenticate, request.token, insecure);
      await oauth.processRevocationResponse(response);
      return { status: response.status };
    },
  };

  return {
    async handle(request) {
      if (request.op === 'discover') return discover(request);
      const server = await discover(request);
      const client = { client_id: request.client_id };
      return operations[request.op](request, server, client, authentication[request.method](request.client_secret));
    },
    async describe(error) {
      // A challenge is reported before the body is looked at.
      if (error instanceof oauth.WWWAuthenticateChallengeError) {
        const { error: code } = await error.response.json();
        return { status: error.status, error: code, challenge: error.cause[0].scheme };
      }
      return { status: error.status, error: error.error };
    },
  };
}

async function simpleOauth2() {
  const { ClientCredentials } = await import('simple-oauth2');

  return {
    async handle(request) {
      const revoking = request.op === 'revoke';
      const client = new ClientCredentials({
        client: { id: request.client_id, secret: request.client_secret },
        auth: {
          tokenHost: new URL(request.token_endpoint).origin,
          tokenPath: new URL(request.token_endpoint).pathname,
          revokePath: new URL(request.revocation_endpoint).pathname,
        },
        options: { authorizationMethod: request.method === 'basic' ? 'header' : 'body' },
        // It sends no user agent of its own. Unless told otherwise it wants all answers to be JSON, and that to a
        // revocation (RFC 7009) is empty.
        http: { headers: { 'user-agent': 'simple-oauth2' }, json: revoking || 'strict' },
      });
      if (revoking) {
        await client.createToken({ access_token: request.token }).revoke('access_token');
        return { status: 200 };
      }
      return (await client.getToken(request.scope ? { scope: request.scope } : {})).token;
    },
    describe: (error) => ({ status: error.output?.statusCode, error: error.data?.payload?.error }),
  };
}

const libraries = { oauth4webapi, 'simple-oauth2': simpleOauth2 };
const { handle, describe } = await libraries[process.argv[2]]();
await serve(handle, describe);
