// What Node 18 lacks: Web Crypto as a global, and URL.parse. Import this before the libraries that need it.
import { webcrypto } from 'node:crypto';

globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;
URL.parse ??= (text, base) => (URL.canParse(text, base) ? new URL(text, base) : null);
