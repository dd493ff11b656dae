/* Subcommands: one file each. argv[0] is the subcommand's name; the answer is the process's exit code. */
#ifndef LOB_JOBS_H
#define LOB_JOBS_H

int lob_cmd_bench(int argc, char **argv);
int lob_cmd_check(int argc, char **argv);
int lob_cmd_demo(int argc, char **argv);
int lob_cmd_embed(int argc, char **argv);
int lob_cmd_grid(int argc, char **argv);
int lob_cmd_masks(int argc, char **argv);
int lob_cmd_plan(int argc, char **argv);
int lob_cmd_predict(int argc, char **argv);
int lob_cmd_report(int argc, char **argv);
int lob_cmd_run(int argc, char **argv);
int lob_cmd_simulate(int argc, char **argv);
int lob_cmd_splits(int argc, char **argv);
int lob_cmd_stats(int argc, char **argv);
int lob_cmd_status(int argc, char **argv);
int lob_cmd_store(int argc, char **argv);
int lob_cmd_train(int argc, char **argv);
int lob_cmd_validate(int argc, char **argv);

#endif
