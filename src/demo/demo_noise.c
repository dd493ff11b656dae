/* Noise that depends on nothing but its arguments: hashes, random waves, periodic textures. */
#include "demo/demo_internal.h"

#include <math.h>

uint32_t lob_demo_hash(uint32_t a, uint32_t b, uint32_t salt) {
    uint64_t z = ((uint64_t)a << 32 | b) + (uint64_t)salt * UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(z >> 32);
}

/* spread: relative SD of the wave number; a narrow band gives plates of even thickness. */
void lob_demo_waves_init(LobDemoWaves *waves, LobRng *rng, double wavelength_um, double spread) {
    for (int i = 0; i < LOB_DEMO_WAVES; i++) {
        double angle = G_PI * (i + lob_rng_uniform(rng)) / LOB_DEMO_WAVES;
        double k = 2.0 * G_PI / wavelength_um * MAX(0.3, 1.0 + spread * lob_rng_normal(rng));
        waves->kx[i] = (float)(k * cos(angle));
        waves->ky[i] = (float)(k * sin(angle));
        waves->phase[i] = (float)(2.0 * G_PI * lob_rng_uniform(rng));
    }
}

float lob_demo_waves_at(const LobDemoWaves *waves, float x, float y) {
    float sum = 0.0F;
    for (int i = 0; i < LOB_DEMO_WAVES; i++)
        sum += cosf(waves->kx[i] * x + waves->ky[i] * y + waves->phase[i]);
    return sum * sqrtf(2.0F / LOB_DEMO_WAVES);
}

/* Along a row the phase of a wave advances evenly, so one rotation a step replaces a cosine. */
void lob_demo_waves_grid(const LobDemoWaves *waves, float x0, float y0, float step, int columns, int rows,
                         float *out) {
    float scale = sqrtf(2.0F / LOB_DEMO_WAVES);
    for (int j = 0; j < rows; j++) {
        float c[LOB_DEMO_WAVES], s[LOB_DEMO_WAVES], dc[LOB_DEMO_WAVES], ds[LOB_DEMO_WAVES];
        for (int w = 0; w < LOB_DEMO_WAVES; w++) {
            float angle = waves->kx[w] * x0 + waves->ky[w] * (y0 + (float)j * step) + waves->phase[w];
            c[w] = cosf(angle) * scale;
            s[w] = sinf(angle) * scale;
            dc[w] = cosf(waves->kx[w] * step);
            ds[w] = sinf(waves->kx[w] * step);
        }
        for (int i = 0; i < columns; i++) {
            float sum = 0.0F;
            for (int w = 0; w < LOB_DEMO_WAVES; w++) {
                sum += c[w];
                float turned = c[w] * dc[w] - s[w] * ds[w];
                s[w] = s[w] * dc[w] + c[w] * ds[w];
                c[w] = turned;
            }
            out[j * columns + i] = sum;
        }
    }
}

enum { SIDE = LOB_DEMO_TEXTURE, COUNT = SIDE * SIDE };

static float *gaussian(double sd_px, int *radius) {
    *radius = (int)ceil(2.5 * sd_px);
    g_assert(*radius < SIDE / 2);
    float *kernel = g_new(float, (gsize)(2 * *radius + 1));
    for (int k = -*radius; k <= *radius; k++)
        kernel[k + *radius] = (float)exp(-0.5 * k * k / (sd_px * sd_px));
    return kernel;
}

/* Periodic, along x. */
static void smooth_rows(const float *in, float *out, double sd_px) {
    int radius;
    g_autofree float *kernel = gaussian(sd_px, &radius);
    float line[2 * SIDE];
    for (int j = 0; j < SIDE; j++) {
        const float *row = in + j * SIDE;
        float *to = out + j * SIDE;
        for (int i = 0; i < SIDE + 2 * radius; i++)
            line[i] = row[(i - radius) & (SIDE - 1)];
        for (int i = 0; i < SIDE; i++)
            to[i] = 0.0F;
        for (int k = 0; k <= 2 * radius; k++) {
            float weight = kernel[k];
            for (int i = 0; i < SIDE; i++)
                to[i] += weight * line[i + k];
        }
    }
}

/* Periodic, along y. */
static void smooth_columns(const float *in, float *out, double sd_px) {
    int radius;
    g_autofree float *kernel = gaussian(sd_px, &radius);
    for (int j = 0; j < SIDE; j++) {
        float *to = out + j * SIDE;
        for (int i = 0; i < SIDE; i++)
            to[i] = 0.0F;
        for (int k = -radius; k <= radius; k++) {
            const float *row = in + ((j + k) & (SIDE - 1)) * SIDE;
            float weight = kernel[k + radius];
            for (int i = 0; i < SIDE; i++)
                to[i] += weight * row[i];
        }
    }
}

float *lob_demo_texture(LobRng *rng, double um, double stretch, double mpp) {
    g_autofree float *noise = g_new(float, COUNT);
    g_autofree float *half = g_new(float, COUNT);
    float *texture = g_new(float, COUNT);
    /* Uniform draws do: smoothing makes them Gaussian. Two a 64-bit number. */
    for (int i = 0; i < COUNT; i += 2) {
        uint64_t u = lob_rng_u64(rng);
        noise[i] = (float)(uint32_t)u * 0x1.0p-32F - 0.5F;
        noise[i + 1] = (float)(uint32_t)(u >> 32) * 0x1.0p-32F - 0.5F;
    }
    smooth_rows(noise, half, MAX(0.4, stretch * um / mpp));
    smooth_columns(half, texture, MAX(0.4, um / mpp));
    double sum = 0.0, squares = 0.0;
    for (int i = 0; i < COUNT; i++) {
        sum += (double)texture[i];
        squares += (double)texture[i] * (double)texture[i];
    }
    double mean = sum / COUNT, sd = sqrt(squares / COUNT - mean * mean);
    for (int i = 0; i < COUNT; i++)
        texture[i] = (float)(((double)texture[i] - mean) / sd);
    return texture;
}
