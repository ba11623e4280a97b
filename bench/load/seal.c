/* relay.c inside Node, for Node's OpenSSL: what it passes on it also seals, in records of 16 KiB with AES-128-GCM as TLS
 * does, into a buffer of which nobody reads. The bytes themselves go on as they came. Two such relays cost what moving and
 * encrypting the same bytes costs at least: each seals once what the ends of a tunnel seal and open. */
#include "relay.h"

#include <node_api.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RECORD_BYTES (16 * 1024)
#define TAG_BYTES 16
#define ARGUMENTS 4
#define ARGUMENT_BYTES 64

static EVP_CIPHER_CTX *cipher;
static uint64_t number;

static void fail(const char *what)
{
	fprintf(stderr, "seal: %s\n", what);
	exit(1);
}

static unsigned char sealed[256 * 1024 + TAG_BYTES];

static void start(void)
{
	static const unsigned char key[16] = "any other serves";
	cipher = EVP_CIPHER_CTX_new();
	if (!cipher || EVP_EncryptInit_ex(cipher, EVP_aes_128_gcm(), NULL, key, NULL) != 1)
		fail("OpenSSL has no AES-128-GCM");
}

void pass(const unsigned char *bytes, size_t length)
{
	static const unsigned char header[5] = {23, 3, 3, 0x40, 0x11};
	unsigned char nonce[12] = {0};
	for (size_t at = 0; at < length; at += RECORD_BYTES) {
		int part = length - at < RECORD_BYTES ? (int)(length - at) : RECORD_BYTES, done = 0;
		number++;
		memcpy(nonce + 4, &number, sizeof(number));
		if (EVP_EncryptInit_ex(cipher, NULL, NULL, NULL, nonce) != 1 ||
		    EVP_EncryptUpdate(cipher, NULL, &done, header, sizeof(header)) != 1 ||
		    EVP_EncryptUpdate(cipher, sealed + at, &done, bytes + at, part) != 1 ||
		    EVP_EncryptFinal_ex(cipher, sealed + at + part, &done) != 1 ||
		    EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, sealed + at + part) != 1)
			fail("OpenSSL does not seal");
	}
}

/* run(host, port, toHost, toPort) does not return. */
static napi_value run(napi_env env, napi_callback_info info)
{
	static char texts[ARGUMENTS][ARGUMENT_BYTES];
	char *arguments[ARGUMENTS + 1] = {"relay"};
	napi_value values[ARGUMENTS];
	size_t count = ARGUMENTS, length;
	if (napi_get_cb_info(env, info, &count, values, NULL, NULL) != napi_ok || count != ARGUMENTS)
		fail("four arguments");
	for (int i = 0; i < ARGUMENTS; i++) {
		if (napi_get_value_string_utf8(env, values[i], texts[i], ARGUMENT_BYTES, &length) != napi_ok)
			fail("arguments that are texts");
		arguments[i + 1] = texts[i];
	}
	start();
	exit(relay(ARGUMENTS + 1, arguments));
}

/* firstRecord(bytes): what of them a relay would seal first, with its tag. At most 16 KiB. */
static napi_value first_record(napi_env env, napi_callback_info info)
{
	napi_value value, result;
	size_t count = 1, length;
	void *bytes;
	if (napi_get_cb_info(env, info, &count, &value, NULL, NULL) != napi_ok ||
	    napi_get_buffer_info(env, value, &bytes, &length) != napi_ok || length > RECORD_BYTES)
		fail("a record");
	start();
	pass(bytes, length);
	if (napi_create_buffer_copy(env, length + TAG_BYTES, sealed, NULL, &result) != napi_ok)
		fail("no memory");
	return result;
}

NAPI_MODULE_INIT()
{
	const napi_property_descriptor functions[] = {
	    {.utf8name = "run", .method = run},
	    {.utf8name = "firstRecord", .method = first_record},
	};
	if (napi_define_properties(env, exports, 2, functions) != napi_ok)
		fail("no functions");
	return exports;
}
