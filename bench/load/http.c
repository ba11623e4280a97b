/* HTTP/1.1 of requests.c and serve.c: one request and one answer, written once, and the head of a reply. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load.h"

/* As long as those that a browser or a client library sends. */
#define REQUEST                                                                                              \
	"GET /accounts/7/statement?page=2 HTTP/1.1\r\n"                                                      \
	"Host: api.bank.example\r\n"                                                                         \
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"             \
	"Accept: application/json, text/plain;q=0.9, */*;q=0.8\r\n"                                          \
	"Accept-Language: en-GB,en;q=0.5\r\n"                                                                \
	"Accept-Encoding: gzip, deflate, br\r\n"                                                             \
	"Authorization: Bearer 0123456789abcdef0123456789abcdef0123456789abcdef\r\n"                         \
	"Cookie: session=7c9e6679f7424de58b3e0a3b0c1d2e3f; theme=dark\r\n"                                   \
	"Referer: https://bank.example/accounts\r\n"                                                         \
	"X-Request-Id: 7c9e6679-7424-4de5-8b3e-0a3b0c1d2e3f\r\n"                                             \
	"Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n"                           \
	"Cache-Control: no-cache\r\n"                                                                        \
	"Priority: u=1, i\r\n"                                                                              \
	"\r\n"

/* Longer heads of replies end the run. */
#define HEAD_BYTES 2048

const unsigned char *http_request(uint32_t *length)
{
	*length = sizeof(REQUEST) - 1;
	return (const unsigned char *)REQUEST;
}

const unsigned char *http_answer(uint32_t *length)
{
	static unsigned char answer[HEAD_BYTES + HTTP_ANSWER_BYTES];
	static uint32_t bytes;
	if (bytes == 0) {
		int head = snprintf((char *)answer, HEAD_BYTES,
				    "HTTP/1.1 200 OK\r\n"
				    "Date: Sat, 28 Nov 2026 16:00:00 GMT\r\n"
				    "Content-Type: application/octet-stream\r\n"
				    "Cache-Control: no-store\r\n"
				    "Content-Length: %d\r\n"
				    "\r\n",
				    HTTP_ANSWER_BYTES);
		memcpy(answer + head, pattern, HTTP_ANSWER_BYTES);
		bytes = (uint32_t)head + HTTP_ANSWER_BYTES;
	}
	*length = bytes;
	return answer;
}

static void refuse(const char *why, const char *head)
{
	fprintf(stderr, "load: %s: %.200s\n", why, head);
	exit(1);
}

size_t http_reply_head(struct connection *c, int index, const unsigned char *data, size_t length)
{
	static const char ok[] = "HTTP/1.1 200 ", size_field[] = "\r\ncontent-length:";
	static char heads[MAX_CONNECTIONS][HEAD_BYTES];
	char *head = heads[index];
	if (c->head >= 4 && memcmp(head + c->head - 4, "\r\n\r\n", 4) == 0)
		return 0;
	/* The end may have come in part. */
	unsigned from = c->head < 3 ? 0 : c->head - 3;
	size_t room = HEAD_BYTES - 1 - c->head, part = length < room ? length : room;
	memcpy(head + c->head, data, part);
	char *end = memmem(head + from, c->head + part - from, "\r\n\r\n", 4);
	if (!end) {
		c->head += (unsigned)part;
		head[c->head] = 0;
		if (part < length)
			refuse("a head without end", head);
		return part;
	}
	size_t taken = (size_t)(end + 4 - head) - c->head;
	c->head += (unsigned)taken;
	head[c->head] = 0;
	if (memcmp(head, ok, sizeof(ok) - 1) != 0)
		refuse("the reply is no 200", head);
	const char *size = strcasestr(head, size_field);
	if (!size || atoi(size + sizeof(size_field) - 1) != HTTP_ANSWER_BYTES)
		refuse("the reply has not the length of the answer", head);
	return taken;
}
