"""A bucket: moto's S3 behind a door that checks every signature with Amazon's own library.

moto keeps objects and parts as S3 does and believes whoever asks; botocore says what a signature over such a request
has to be. Objects are looked at with boto3, Amazon's own client.
"""

import threading
from urllib.parse import parse_qs, quote

import boto3
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from peers.wire import call

ACCESS_KEY, SECRET_KEY, REGION = "AKIAFRONTDESKTEST001", "a secret that no test prints", "eu-central-2"
NAME = "backups"
RESET = "/moto-api/reset"
DENIED = b"<?xml version='1.0'?><Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>"


class Quiet(WSGIRequestHandler):
    def log(self, *_):
        pass


class Bucket:
    """Runs from construction to `stop()`. `asked` has every request as (method, path, its query)."""

    def __init__(self):
        self.asked, self.refused, self.failing = [], [], []
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._door, threaded=True, request_handler=Quiet)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self._client = boto3.client(
            "s3", endpoint_url=self.url, region_name=REGION, aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY, config=Config(s3={"addressing_style": "path"}),
        )
        # What other buckets of this process kept.
        assert call("POST", f"{self.url}{RESET}").status == 200
        self._client.create_bucket(Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": REGION})

    def _door(self, environ, start_response):
        method, path, query = environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["QUERY_STRING"]
        # boto3 signs in a header; that is the test itself asking.
        if "HTTP_AUTHORIZATION" not in environ and path != RESET:
            self.asked.append((method, path, query))
            if self.failing and self.failing[0](method, query):
                self.failing.pop(0)
                start_response("503 Slow Down", [("Content-Length", "0")])
                return [b""]
            if not self._is_signed(method, path, query, environ["HTTP_HOST"]):
                self.refused.append((method, path))
                start_response("403 Forbidden", [("Content-Length", str(len(DENIED)))])
                return [DENIED]
        return self._moto(environ, start_response)

    def _is_signed(self, method, path, query, host):
        given = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
        signature = given.pop("X-Amz-Signature", "")
        key, _, region, *_ = given.get("X-Amz-Credential", "").split("/") + [""] * 3
        if key != ACCESS_KEY or region != REGION:
            return False
        pairs = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in given.items())
        request = AWSRequest(method=method, url=f"http://{host}{quote(path, safe='/-_.~')}?{pairs}")
        request.context["timestamp"] = given["X-Amz-Date"]
        judge = S3SigV4QueryAuth(Credentials(ACCESS_KEY, SECRET_KEY), "s3", REGION, expires=900)
        canonical = judge.canonical_request(request)
        return signature == judge.signature(judge.string_to_sign(request, canonical), request)

    # What the test looks at

    def keys(self):
        return sorted(o["Key"] for o in self._client.list_objects_v2(Bucket=NAME).get("Contents", []))

    def read(self, key):
        return self._client.get_object(Bucket=NAME, Key=key)["Body"].read()

    def write(self, key, body):
        self._client.put_object(Bucket=NAME, Key=key, Body=body)

    def unfinished_uploads(self):
        return self._client.list_multipart_uploads(Bucket=NAME).get("Uploads", [])

    def parts_sent(self):
        return [path for method, path, query in self.asked if method == "PUT" and "partNumber=" in query]

    def stop(self):
        self._server.shutdown()
        self._thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
