// Usage: verify.mjs jose. See README.md for the requests and answers.
import './node18.mjs';
import { serve } from './lines.mjs';

const { createRemoteJWKSet, jwtVerify } = await import(process.argv[2]);

async function handle(request) {
  // A new set each time: a cached one may not look for a new key within 30 s.
  const keys = createRemoteJWKSet(new URL(request.jwks_uri));
  const { payload, protectedHeader } = await jwtVerify(request.token, keys, {
    issuer: request.issuer,
    audience: request.audience,
    algorithms: [request.alg],
    typ: request.typ,
    currentDate: new Date(Date.now() + request.seconds_ahead * 1000),
    requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat', 'jti', 'client_id', 'crossfade_secret'],
  });
  return { claims: payload, header: protectedHeader };
}

await serve(handle, () => ({}));
