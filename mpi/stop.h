/* Stopping, inside the room. */
#ifndef LOB_STOP_H
#define LOB_STOP_H

#include "mpi/mpi_jobs.h"

void lob_stop_install(void); /* catches USR1, TERM, INT */
/* Takes over another rank's state (a signal may reach one rank alone). */
void lob_run_adopt(LobRunState wanted, const char *why);
/* The STOPPED or HALTED error the present state stands for; false. */
bool lob_run_stop_error(GError **err);
/* True while nothing asks to stop; else that error. */
bool lob_run_goes_on(GError **err);

#endif
