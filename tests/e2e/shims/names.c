// A name server of the test's own: TROUPE_TEST_NAMES="a.test=10.0.0.1;b.test=127.0.0.1+::1;c.test=1.1.1.1|127.0.0.1".
// "+" gives one answer of several addresses, "|" another answer for each next question (the last one stays): a server that rebinds.
// Each question is written to the file that TROUPE_TEST_ASKED names.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int (*resolve)(const char*, const char*, const struct addrinfo*, struct addrinfo**);

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int asked[64];

static void note(const char* name) {
  const char* path = getenv("TROUPE_TEST_ASKED");
  FILE* file = path ? fopen(path, "a") : NULL;
  if (!file)
    return;
  fprintf(file, "%s\n", name);
  fclose(file);
}

/// The answer for the n-th question, into `out`; 0 when the name is not ours.
static int answer_for(const char* name, char* out, size_t size) {
  const char* table = getenv("TROUPE_TEST_NAMES");
  const size_t length = strlen(name);
  for (int row = 0; table && *table && row < 64; ++row) {
    const char* end = strchr(table, ';');
    if (!end)
      end = table + strlen(table);
    if (strncasecmp(table, name, length) == 0 && table[length] == '=') {
      const char* at = table + length + 1;
      pthread_mutex_lock(&mutex);
      int skip = asked[row]++;
      pthread_mutex_unlock(&mutex);
      for (const char* bar; skip > 0 && (bar = memchr(at, '|', (size_t)(end - at))); --skip)
        at = bar + 1;
      const char* bar = memchr(at, '|', (size_t)(end - at));
      snprintf(out, size, "%.*s", (int)((bar ? bar : end) - at), at);
      return 1;
    }
    table = *end ? end + 1 : end;
  }
  return 0;
}

int getaddrinfo(const char* node, const char* service, const struct addrinfo* hints, struct addrinfo** result) {
  const resolve real = (resolve)dlsym(RTLD_NEXT, "getaddrinfo");
  char answer[256];
  if (!node || !answer_for(node, answer, sizeof answer))
    return real(node, service, hints, result);
  note(node);
  struct addrinfo* all = NULL;
  struct addrinfo** last = &all;
  char* state = NULL;
  int status = EAI_NONAME;
  for (char* each = strtok_r(answer, "+", &state); each; each = strtok_r(NULL, "+", &state)) {
    struct addrinfo* one = NULL;
    const int got = real(each, service, hints, &one);
    if (got != 0)
      continue;
    status = 0;
    *last = one;
    while (*last)
      last = &(*last)->ai_next;
  }
  *result = all;
  return status;
}
