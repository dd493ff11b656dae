/* A slide's stains and colour, from pixels sampled over it. */
#include "tissue/tissue_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_PIXELS 500 /* of tissue */
#define PERCENT 1.0      /* robust extremes: this percentile and 100 less it */

const double lob_lms_from_rgb[3][3] = {
    {0.3811, 0.5783, 0.0402}, {0.1967, 0.7244, 0.0782}, {0.0241, 0.1288, 0.8444}};

const double lob_lab_from_log_lms[3][3] = {{0.57735026918962573, 0.57735026918962573, 0.57735026918962573},
                                           {0.40824829046386302, 0.40824829046386302, -0.81649658092772603},
                                           {0.70710678118654757, -0.70710678118654757, 0}};

double lob_stain_density(uint8_t value) {
    return -log((value + 1) / LOB_STAIN_WHITE);
}

void lob_stain_unmixing(const double hema[3], const double eosin[3], double unmix[2][3]) {
    double dot = 0;
    for (int c = 0; c < 3; c++)
        dot += hema[c] * eosin[c];
    const double scale = 1 / (1 - dot * dot);
    for (int c = 0; c < 3; c++) {
        unmix[0][c] = scale * (hema[c] - dot * eosin[c]);
        unmix[1][c] = scale * (eosin[c] - dot * hema[c]);
    }
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Linear between the neighbours, as numpy has it; sorts. */
static double percentile(double *values, size_t n, double percent) {
    qsort(values, n, sizeof *values, by_value);
    double at = percent / 100 * (double)(n - 1);
    size_t low = (size_t)at, high = MIN(low + 1, n - 1);
    return values[low] + (at - (double)low) * (values[high] - values[low]);
}

/* One Jacobi rotation that makes a[p][q] zero; v collects eigenvectors as columns. */
static void rotate(double a[3][3], double v[3][3], int p, int q) {
    if (fabs(a[p][q]) < 1e-300)
        return;
    double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
    double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
    double c = 1 / sqrt(t * t + 1), s = t * c;
    for (int k = 0; k < 3; k++) {
        double x = a[k][p], y = a[k][q];
        a[k][p] = c * x - s * y;
        a[k][q] = s * x + c * y;
    }
    for (int k = 0; k < 3; k++) {
        double x = a[p][k], y = a[q][k];
        a[p][k] = c * x - s * y;
        a[q][k] = s * x + c * y;
        x = v[k][p];
        y = v[k][q];
        v[k][p] = c * x - s * y;
        v[k][q] = s * x + c * y;
    }
}

/* The two eigenvectors with the largest eigenvalues, the largest pointing into the positive octant. */
static void main_plane(double a[3][3], double first[3], double second[3]) {
    double v[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    for (int sweep = 0; sweep < 30; sweep++) {
        rotate(a, v, 0, 1);
        rotate(a, v, 0, 2);
        rotate(a, v, 1, 2);
    }
    int least = 0, most = 0;
    for (int i = 1; i < 3; i++) {
        if (a[i][i] < a[least][least])
            least = i;
        if (a[i][i] >= a[most][most])
            most = i;
    }
    int middle = 3 - least - most;
    double sum = v[0][most] + v[1][most] + v[2][most];
    for (int c = 0; c < 3; c++) {
        first[c] = sum < 0 ? -v[c][most] : v[c][most];
        second[c] = v[c][middle];
    }
}

/* [n][3] densities; mean and covariance's scale do not matter to the plane. */
static void covariance(const double *density, size_t n, double out[3][3]) {
    double mean[3] = {0};
    for (size_t i = 0; i < n; i++)
        for (int c = 0; c < 3; c++)
            mean[c] += density[3 * i + (size_t)c] / (double)n;
    memset(out, 0, 9 * sizeof out[0][0]);
    for (size_t i = 0; i < n; i++)
        for (int a = 0; a < 3; a++)
            for (int b = 0; b < 3; b++)
                out[a][b] += (density[3 * i + (size_t)a] - mean[a]) * (density[3 * i + (size_t)b] - mean[b]);
}

static double dot3(const double *a, const double *b) {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

/* density [n][3]; scratch [n]. */
static void find_stains(const double *density, size_t n, double *scratch, LobStains *stains) {
    double matrix[3][3], first[3], second[3], angle[2], unmix[2][3], found[2][3];
    covariance(density, n, matrix);
    main_plane(matrix, first, second);
    for (size_t i = 0; i < n; i++)
        scratch[i] = atan2(dot3(density + 3 * i, second), dot3(density + 3 * i, first));
    angle[0] = percentile(scratch, n, PERCENT);
    angle[1] = percentile(scratch, n, 100 - PERCENT);
    for (int s = 0; s < 2; s++)
        for (int c = 0; c < 3; c++)
            found[s][c] = cos(angle[s]) * first[c] + sin(angle[s]) * second[c];
    int hema = found[0][0] > found[1][0] ? 0 : 1; /* haematoxylin absorbs more red */
    memcpy(stains->hema, found[hema], sizeof stains->hema);
    memcpy(stains->eosin, found[1 - hema], sizeof stains->eosin);
    lob_stain_unmixing(stains->hema, stains->eosin, unmix);
    for (int s = 0; s < 2; s++) {
        for (size_t i = 0; i < n; i++)
            scratch[i] = dot3(unmix[s], density + 3 * i);
        stains->strength[s] = percentile(scratch, n, 99);
    }
}

typedef struct {
    double n, sum[3], squares[3];
} Colour;

static void add_colour(Colour *colour, const uint8_t *p) {
    double log_lms[3];
    for (int c = 0; c < 3; c++)
        log_lms[c] = log(
            MAX(lob_lms_from_rgb[c][0] * p[0] + lob_lms_from_rgb[c][1] * p[1] + lob_lms_from_rgb[c][2] * p[2],
                1.0));
    for (int c = 0; c < 3; c++) {
        double value = dot3(lob_lab_from_log_lms[c], log_lms);
        colour->sum[c] += value;
        colour->squares[c] += value * value;
    }
    colour->n++;
}

void lob_stains_estimate(const uint8_t *rgb, size_t n, LobStains *stains) {
    g_autofree double *density = g_new(double, 3 * n + 3), *scratch = g_new(double, n + 1);
    Colour colour = {0};
    size_t stained = 0;
    for (size_t i = 0; i < n; i++) {
        double least = INFINITY, most = -INFINITY;
        for (size_t c = 0; c < 3; c++) {
            double value = density[3 * stained + c] = lob_stain_density(rgb[3 * i + c]);
            least = fmin(least, value);
            most = fmax(most, value);
        }
        stained += least >= LOB_STAIN_LEAST;
        if (most >= LOB_STAIN_LEAST)
            add_colour(&colour, rgb + 3 * i);
    }
    double *values = (double *)stains;
    for (size_t i = 0; i < sizeof *stains / sizeof *values; i++)
        values[i] = NAN;
    if (stained < LEAST_PIXELS)
        return;
    find_stains(density, stained, scratch, stains);
    for (int c = 0; c < 3; c++) {
        stains->mean[c] = colour.sum[c] / colour.n;
        stains->sd[c] = sqrt(fmax(colour.squares[c] / colour.n - stains->mean[c] * stains->mean[c], 0));
    }
}

bool lob_stains_known(const LobStains *stains) {
    const double *values = (const double *)stains;
    for (size_t i = 0; i < sizeof *stains / sizeof *values; i++)
        if (!isfinite(values[i]))
            return false;
    double unmix[2][3];
    lob_stain_unmixing(stains->hema, stains->eosin, unmix);
    return isfinite(unmix[0][0]) && isfinite(unmix[1][0]) && stains->strength[0] > 0 &&
           stains->strength[1] > 0 && stains->sd[0] > 0 && stains->sd[1] > 0 && stains->sd[2] > 0;
}
