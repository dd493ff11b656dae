/* Inside the prediction job: the new cohort seen through the model's endpoints. */
#ifndef LOB_PREDICT_SETTING_H
#define LOB_PREDICT_SETTING_H

#include "hdf5io/model_file.h"
#include "mpi/validate.h"

/* The study and cohort as given, but for the endpoints, which are the model's, and their outcomes, which are
 * the study's of the same name or unknown. Everything else is borrowed. */
typedef struct {
    LobStudy study;
    LobCohort cohort;
    LobPlan plan; /* one repeat, one fold that holds everybody, the model's kinds and seeds */
} LobSetting;

bool lob_setting_init(LobSetting *setting, const LobCohort *cohort, const LobModelFile *file, GError **err);
void lob_setting_clear(LobSetting *setting);
/* external.json: which model, and what of it the page of this cohort needs. Rank 0. */
bool lob_setting_record(const LobSetting *setting, const LobModelFile *file, GError **err);
/* INPUT error telling every difference between the model's features and those the study would make or has. */
bool lob_setting_check_encoder(const LobStudy *study, const LobModelFile *file, GError **err);
bool lob_setting_check_features(const LobSetting *setting, const LobModelFile *file, GError **err);

#endif
