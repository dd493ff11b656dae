/* The sections of study.yaml; each handler's target is the LobStudy. */
#ifndef LOB_COHORT_STUDY_INTERNAL_H
#define LOB_COHORT_STUDY_INTERNAL_H

#include "cohort/cohort_internal.h"
#include "cohort/yaml_schema.h"

bool lob_study_section_cohort(LobYaml *yaml, Node *value, const char *key, void *study, GError **err);
bool lob_study_section_tiles(LobYaml *yaml, Node *value, const char *key, void *study, GError **err);
bool lob_study_section_tissue(LobYaml *yaml, Node *value, const char *key, void *study, GError **err);
bool lob_study_section_stain(LobYaml *yaml, Node *value, const char *key, void *study, GError **err);
bool lob_study_section_encoder(LobYaml *yaml, Node *value, const char *key, void *study, GError **err);
bool lob_study_section_features(LobYaml *yaml, Node *value, const char *key, void *study, GError **err);
bool lob_study_section_endpoints(LobYaml *yaml, Node *value, const char *key, void *study, GError **err);
bool lob_study_section_eligible(LobYaml *yaml, Node *value, const char *key, void *study, GError **err);
bool lob_study_section_covariates(LobYaml *yaml, Node *value, const char *key, void *study, GError **err);
bool lob_study_section_report(LobYaml *yaml, Node *value, const char *key, void *study, GError **err);
bool lob_study_section_imaging(LobYaml *yaml, Node *value, const char *key, void *study, GError **err);
bool lob_study_section_arms(LobYaml *yaml, Node *value, const char *key, void *study, GError **err);
void lob_study_clear_endpoint(gpointer endpoint);
void lob_study_clear_filter(gpointer filter);
void lob_study_clear_level(gpointer level);

#endif
