// Bolt's verdict on a signed request: slack_signature.mjs '{"headers":…,"body":…}' prints valid, stale or wrong.
import { verifySlackRequest } from '@slack/bolt';

const { headers, body } = JSON.parse(process.argv[2]);
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
try {
  verifySlackRequest({ signingSecret: 'signing-secret', body, headers, logger: quiet });
  console.log('valid');
} catch (error) {
  console.log(/stale|too old|minutes/i.test(error.message) ? 'stale' : `wrong: ${error.message}`);
}
