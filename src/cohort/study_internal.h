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
/* model.benefit: a switch, or a mapping of what is asked. */
bool lob_study_read_benefit(LobYaml *yaml, Node *value, const char *key, void *study, GError **err);
bool lob_study_check_benefit(LobYaml *yaml, const LobStudy *study, GError **err); /* when all is read */
/* Appends to a GArray of LobFilter. */
bool lob_study_append_filter(LobYaml *yaml, Node *value, const char *key, void *list, GError **err);
void lob_study_clear_wish(LobBenefitWish *wish);
void lob_study_clear_endpoint(gpointer endpoint);
void lob_study_clear_filter(gpointer filter);
void lob_study_clear_level(gpointer level);

#endif
