/* replay.c: the main of a fuzz target in the ordinary tests: runs it once over every file of the
 * directories given. Each name is printed before its file runs, so the last one is the culprit. */
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

#define PATIENCE_S 20 /* for one file; SIGALRM ends the test */

static size_t replay_directory(const char *directory);
static void replay_file(const char *path, size_t size);

int main(int argc, char **argv)
{
    size_t count = 0;
    for (int i = 1; i < argc; i++) count += replay_directory(argv[i]);
    printf("%zu files\n", count);
    return count > 0 ? 0 : 1;
}

static size_t replay_directory(const char *directory)
{
    struct dirent **entries;
    int count = scandir(directory, &entries, NULL, alphasort);
    size_t files = 0;
    if (count < 0) fprintf(stderr, "%s cannot be read\n", directory);
    for (int i = 0; i < count; i++) {
        char *path = xasprintf("%s/%s", directory, entries[i]->d_name);
        struct stat info;
        if (stat(path, &info) == 0 && S_ISREG(info.st_mode)) {
            replay_file(path, (size_t)info.st_size);
            files++;
        }
        free(path);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
    return files;
}

/* The copy has exactly the file's size, so that reading behind it is seen. */
static void replay_file(const char *path, size_t size)
{
    FILE *file = fopen(path, "r");
    uint8_t *bytes = xmalloc(size);
    require(file && fread(bytes, 1, size, file) == size);
    fclose(file);
    printf("%s\n", path);
    fflush(stdout);
    alarm(PATIENCE_S);
    LLVMFuzzerTestOneInput(bytes, size);
    alarm(0);
    free(bytes);
}
