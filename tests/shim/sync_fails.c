/* Preloaded into the server by tests of a disk that fails: fsync and fdatasync of files whose path contains the text in the
 * file SYNC_FAILS answer EIO, and nothing is synced. Without that file, or while it is empty, everything works. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int file) {
    const char *control = getenv("SYNC_FAILS");
    char word[256], link[64], path[4096];
    int from, kept = errno;
    ssize_t length;
    if (control == NULL || (from = open(control, O_RDONLY | O_CLOEXEC)) < 0) {
        errno = kept;
        return 0;
    }
    length = read(from, word, sizeof word - 1);
    close(from);
    if (length <= 0) {
        errno = kept;
        return 0;
    }
    word[length] = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    length = readlink(link, path, sizeof path - 1);
    errno = kept;
    if (length <= 0)
        return 0;
    path[length] = 0;
    return strstr(path, word) != NULL;
}

static int sync_or_fail(const char *name, int file) {
    int (*real)(int);
    if (fails(file)) {
        errno = EIO;
        return -1;
    }
    real = (int (*)(int))dlsym(RTLD_NEXT, name);
    return real(file);
}

int fsync(int file) { return sync_or_fail("fsync", file); }
int fdatasync(int file) { return sync_or_fail("fdatasync", file); }
