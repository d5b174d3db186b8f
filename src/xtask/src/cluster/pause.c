/* The process that holds a pod's namespaces: it sleeps, reaps what is left to it, and ends when told. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void finish(int number) {
	(void)number;
	_exit(0);
}

static void reap(int number) {
	(void)number;
	while (waitpid(-1, 0, WNOHANG) > 0)
		;
}

int main(void) {
	signal(SIGINT, finish);
	signal(SIGTERM, finish);
	signal(SIGCHLD, reap);
	for (;;)
		pause();
}
